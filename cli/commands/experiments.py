"""`explore experiments`: whether the experiment file is right, and who gets which arm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cli.console import wide_console
from cli.workspace import Workspace

File = Annotated[Path | None, typer.Argument(help="Experiment file; HOME/experiments.yaml by default.")]
FileOption = Annotated[Path | None, typer.Option("--file", help="Experiment file; HOME/experiments.yaml by default.")]
Users = Annotated[list[str], typer.Argument(help="Ids of users.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON list.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="Experiments: other settings for a share of the users.", no_args_is_help=True)
    for command in (check, assign):
        group.command()(command)
    app.add_typer(group, name="experiments")


def check(context: typer.Context, file: File = None, json_: Json = False) -> None:
    """Check an experiment file and show its arms. Exit status 1, with every problem and its line, if it is wrong."""
    from cli.experiment_tables import checked, layer_facts, layer_table

    workspace: Workspace = context.obj
    path = file or workspace.experiments_file
    experiments = checked(workspace, path)
    if json_:
        typer.echo(json.dumps(layer_facts(experiments)))
    elif not experiments.layers:
        typer.echo(f"{path}: no experiments")
    else:
        wide_console().print(layer_table(experiments))


def assign(context: typer.Context, users: Users, file: FileOption = None, json_: Json = False) -> None:
    """Show the arms of users: the same as a gateway with this file gives them."""
    from cli.experiment_tables import assignment_facts, assignment_table, checked

    workspace: Workspace = context.obj
    experiments = checked(workspace, file or workspace.experiments_file)
    if json_:
        typer.echo(json.dumps(assignment_facts(experiments, users)))
    else:
        wide_console().print(assignment_table(experiments, users))

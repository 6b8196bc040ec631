"""`explore`: builds the command line out of its groups, and turns our errors into one readable message."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bundles.errors import BundleError
from cli.commands import (
    bundles,
    data,
    evaluation,
    events,
    experiments,
    explain,
    feed,
    report,
    stack,
    takedown,
    train,
    users,
)
from cli.commands import igql as igql_commands
from cli.entry import INTERRUPTED, on_interrupt
from cli.errors import CommandError
from cli.workspace import Workspace
from retrieval_svc.igql.errors import IgqlError
from training.errors import TrainingError


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="explore",
        help="Recommendations from your own event log: data, training, five services, a page of 25.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @app.callback()
    def workspace(
        context: typer.Context,
        home: Annotated[Path, typer.Option(help="Directory of data, bundles, user state and logs.")] = Path("var"),
        igql: Annotated[
            Path | None,
            typer.Option(
                envvar="EXPLORE_IGQL_FILE", help="Query file that sources candidates; HOME/sourcing.igql by default."
            ),
        ] = None,
    ) -> None:
        context.obj = Workspace(home, igql)

    for group in (
        data,
        train,
        stack,
        feed,
        explain,
        events,
        igql_commands,
        takedown,
        experiments,
        evaluation,
        report,
        bundles,
        users,
    ):
        group.register(app)
    return app


def main() -> None:
    """What `cli.entry` calls. Exit status 0, 1 for an error that has been explained, 2 for wrong usage, 130 when interrupted."""
    # Read when torch is loaded: threads that spin while they wait slow a busy machine down tenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        # A `kill` or a closed terminal must clean up like Ctrl-C does: processes that we started would stay otherwise.
        on_interrupt(signal.default_int_handler)
        build()(standalone_mode=True)
    except (CommandError, BundleError, TrainingError) as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)
    except IgqlError as error:
        typer.echo(error, err=True)  # as it is: its caret points at a column
        sys.exit(1)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted", style="yellow")
        sys.exit(INTERRUPTED)

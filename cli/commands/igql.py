"""`explore igql`: what the query language offers, whether a file is right, what it finds for a user, and what each step did."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bundles.errors import BundleError
from cli.console import wide_console
from cli.errors import CommandError
from cli.workspace import Workspace
from retrieval_svc.igql.errors import IgqlError
from retrieval_svc.limits import MAX_COUNT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bundles.manifest import Manifest
    from cli.user_lookup import LookedUp
    from retrieval_svc.catalogue import Catalogue
    from retrieval_svc.igql.vocabulary import Vocabulary

File = Annotated[Path, typer.Argument(help="Query file.")]
User = Annotated[str, typer.Option(help="For whom.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object.")]


def register(app: typer.Typer) -> None:
    """Adds the group."""
    group = typer.Typer(help="The language of sourcing: check, run and explain query files.", no_args_is_help=True)
    for command in (ops, check, run, explain):
        group.command()(command)
    app.add_typer(group, name="igql")


def ops(json_: Json = False) -> None:
    """List every operator: what it takes and gives, its arguments."""
    from cli.operator_table import operator_facts, operator_table

    if json_:
        typer.echo(json.dumps(operator_facts()))
        return
    wide_console().print(operator_table())


def check(context: typer.Context, file: File) -> None:
    """Compile a query file and show its sources. Exit status 1, with line and caret, if it is wrong."""
    from cli.query_tables import source_table
    from retrieval_svc.igql.files import compile_file

    vocabulary = _vocabulary(context.obj)
    with _explained():
        plan = compile_file(file, vocabulary)
    wide_console().print(source_table(plan))
    for name in plan.unused:
        typer.echo(f"warning: nothing refers to {name!r}", err=True)


def run(
    context: typer.Context,
    file: File,
    user: User,
    count: Annotated[int, typer.Option(help="How many candidates.", min=1, max=MAX_COUNT)] = 50,
    json_: Json = False,
) -> None:
    """Show what a query file finds for a user on the active bundle, without what is taken down."""
    from cli.query_tables import candidate_facts, candidate_table
    from cli.served_sourcing import open_engine

    catalogue, asked = _prepare(context.obj, file, user)
    with _explained():
        sourced = open_engine(context.obj, catalogue, file).retrieve(asked.contexts, [asked.seen_S], _one(count))
    facts = candidate_facts(sourced, catalogue.items)
    if json_:
        typer.echo(json.dumps({"user_id": user, "known": asked.known, "candidates": facts}))
        return
    wide_console().print(candidate_table(facts, user))


def explain(
    context: typer.Context,
    file: File,
    user: User,
    count: Annotated[int, typer.Option(help="How many candidates; a page asks for 500.", min=1, max=MAX_COUNT)] = 500,
    json_: Json = False,
    eager: Annotated[bool, typer.Option("--eager", help="Read every list to its end; the answer is the same.")] = False,
) -> None:
    """Show what each step of a query file does for a user: rows in and out, drops, time."""
    import time

    from cli.query_tables import Explained, explain_facts, explain_tree
    from cli.served_sourcing import open_engine
    from retrieval_svc.igql.execute import Execution
    from retrieval_svc.igql.files import compile_file
    from retrieval_svc.sourced import sourced

    catalogue, asked = _prepare(context.obj, file, user)
    with _explained():
        engine = open_engine(context.obj, catalogue, file)
        plan = compile_file(file, catalogue.vocabulary)
    execution = engine.execution(plan, asked.contexts, [asked.seen_S], _one(count))
    if eager:
        execution = Execution(plan, execution.run, lazy=False)
    start = time.perf_counter()
    flow = execution.answer()
    total_ms = (time.perf_counter() - start) * 1000
    explained = Explained(plan, execution.traces, sourced(flow, plan, catalogue.items), total_ms)
    if json_:
        typer.echo(json.dumps({"known": asked.known, **explain_facts(explained, user)}))
        return
    wide_console().print(explain_tree(explained, user))


def _prepare(workspace: Workspace, file: Path, user: str) -> tuple[Catalogue, LookedUp]:
    """The catalogue of the active bundle and the user. A file that is wrong is told of before anything slow happens."""
    from cli.commands.stack import active_manifest, clock_for
    from cli.user_lookup import look_up
    from retrieval_svc.igql.files import compile_file

    manifest = active_manifest(workspace)
    catalogue = _catalogue(workspace, manifest)
    with _explained():
        compile_file(file, catalogue.vocabulary)
    asked = look_up(workspace, manifest, clock_for(manifest), user)
    typer.echo(str(asked), err=True)
    return catalogue, asked


def _vocabulary(workspace: Workspace) -> Vocabulary:
    """The names that the active bundle offers; what every bundle offers, if there is none that can be read."""
    from cli.commands.stack import active_manifest
    from retrieval_svc.igql.vocabulary import Vocabulary

    try:
        return _catalogue(workspace, active_manifest(workspace)).vocabulary
    except (CommandError, BundleError) as error:
        typer.echo(f"topics are not checked, other names against the defaults: {error}", err=True)
        return Vocabulary()


def _catalogue(workspace: Workspace, manifest: Manifest) -> Catalogue:
    """The sourcing files of a bundle. Its checksums are not verified, which would take longer than the query."""
    from bundles.bundle import Bundle
    from retrieval_svc.catalogue import Catalogue

    return Catalogue.open(Bundle(manifest.version, workspace.bundles().root / manifest.version, manifest))


def _one(count: int) -> NDArray[np.int64]:
    import numpy as np

    return np.array([count], dtype=np.int64)


@contextmanager
def _explained() -> Iterator[None]:
    """Prints what is wrong with a query as it is, since its caret points at a column, and ends with status 1."""
    try:
        yield
    except IgqlError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error

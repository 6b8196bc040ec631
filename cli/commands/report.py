"""`explore report`: one page with figures about a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.progress import steps
from cli.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(report)


def report(
    context: typer.Context,
    bundle: Annotated[
        str, typer.Argument(help='"active", "previous", or the beginning of a version or hash.', metavar="[BUNDLE]")
    ] = "active",
    data: Annotated[
        Path | None, typer.Option(help="Data set to judge it on; the one that it was trained on if left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where the page goes; HOME/report if left out.")] = None,
    users: Annotated[int, typer.Option(help="How many users' candidates measure the funnel.", min=2)] = 400,
) -> None:
    """Write a page about a bundle: learning curves, quality with intervals, calibration, funnel, what the models read, accounts.

    What needs the data set is measured again on its last 24 hours. Where that cannot be done, the page says why and shows the rest.
    """
    from cli.report import page
    from cli.report.measure import measure

    workspace: Workspace = context.obj
    with steps() as progress:
        found = measure(workspace, workspace.bundles().find(bundle), data, users, progress)
        with progress.step("drawing"):
            written = page.write(found, out or workspace.home / "report")
    Console(soft_wrap=True).print(f"report of bundle {found.manifest.version}: {written}", highlight=False)

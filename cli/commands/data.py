"""Commands that make a data set: `simulate` and `import kuairand`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.limits import MAX_SEED
from cli.progress import steps
from cli.replacing import KUAIRAND, SIMULATE, refuse_loss
from cli.workspace import Workspace

Replace = Annotated[
    bool, typer.Option("--replace", help="Give up the data set of that name, even if this command did not make it.")
]


class WorldSize(StrEnum):
    """Presets of the synthetic world."""

    DEFAULT = "default"
    TINY = "tiny"


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(simulate)
    importers = typer.Typer(help="Bring a recorded log into the data contract.", no_args_is_help=True)
    importers.command()(kuairand)
    app.add_typer(importers, name="import")


def simulate(
    context: typer.Context,
    size: Annotated[WorldSize, typer.Option(help="default: 20 k users, 100 k media, 3 M events.")] = WorldSize.DEFAULT,
    seed: Annotated[
        int | None, typer.Option(help="Another world; the default one is always the same.", min=0, max=MAX_SEED)
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the data set.")] = "simulated",
    replace: Replace = False,
) -> None:
    """Make a data set from a synthetic world whose true tastes are known."""
    make_simulated(context.obj, size, seed, name, replace)


def make_simulated(workspace: Workspace, size: WorldSize, seed: int | None, name: str, replace: bool = False) -> None:
    """Writes the data set and makes it the one in use.

    Raises CommandError if one of that name is there that another command made, unless it is to be replaced.
    """
    import dataclasses

    from training.datasets import simulate as world

    target = workspace.dataset(name)
    if not replace:
        refuse_loss(target, SIMULATE)
    config = world.default() if size is WorldSize.DEFAULT else world.tiny()
    if seed is not None:
        config = dataclasses.replace(config, seed=seed)
    with steps() as progress, progress.step("simulating the world") as report:
        dataset = world.simulate(config, target, report)
    workspace.use_dataset(name)
    _say(workspace, name, len(dataset.users), len(dataset.media), len(dataset.events))


def kuairand(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Folder of KuaiRand-Pure's CSV files, plain or .gz.")],
    name: Annotated[str, typer.Option(help="Name of the data set.")] = "kuairand",
    replace: Replace = False,
) -> None:
    """Import KuaiRand-Pure: real users, real videos."""
    from training.datasets.kuairand import import_kuairand

    workspace: Workspace = context.obj
    target = workspace.dataset(name)
    if not replace:
        refuse_loss(target, KUAIRAND)
    with steps() as progress, progress.step("importing KuaiRand") as report:
        dataset = import_kuairand(directory, target, report)
    workspace.use_dataset(name)
    _say(workspace, name, len(dataset.users), len(dataset.media), len(dataset.events))


def _say(workspace: Workspace, name: str, users: int, media: int, events: int) -> None:
    where = workspace.dataset(name)
    Console().print(f"data set {name!r} in {where}: {users:,} users, {media:,} media, {events:,} events; now in use")

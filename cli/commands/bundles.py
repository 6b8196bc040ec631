"""Commands about published bundles: which there are, which one serves, and another one while the stack runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from bundles.errors import BundleError
from bundles.store import BundleStore
from cli.bundle_switch import ServedBundles, ask, refuse_other_data, wait_for
from cli.commands import bundle_transfer
from cli.console import wide_console
from cli.errors import CommandError
from cli.stack import RunningStack
from cli.workspace import Workspace

Version = Annotated[
    str, typer.Argument(help='"active", "previous", or the beginning of a version or hash.', metavar="VERSION")
]
Wait = Annotated[float, typer.Option(help="Seconds to wait for the services of a running stack.", min=0)]
_WAIT_S = 30.0
_HEADLINES = {
    "funnel value": ("funnel", "funnel_value", "mean"),
    "like AUC": ("rerank", "like", "auc"),
    "click AUC": ("rerank", "click", "auc"),
}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (activate, rollback, hold, release):
        app.command()(command)
    group = typer.Typer(invoke_without_command=True)
    group.callback()(bundles)
    bundle_transfer.register(group)
    app.add_typer(group, name="bundles")


@dataclass(frozen=True)
class BundleRow:
    """One line of `explore bundles`. `state` is "active", "previous", "held" or empty; `problem` why it cannot be read."""

    version: str
    created: str
    state: str
    dataset: str
    served_by: tuple[str, ...]  # services that answer new requests from it
    held_by: tuple[str, ...]  # services that requests may be pinned to it at, the ones that serve it included
    metrics: dict[str, float]
    problem: str


def bundles(
    context: typer.Context, json_: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False
) -> None:
    """Show the published bundles: which one is active, which services serve them, and how good they were on their test data.

    The commands below bring bundles to a store behind a URL and from there, and remove old ones (docs/bundles.md).
    """
    if context.invoked_subcommand is not None:
        return
    workspace: Workspace = context.obj
    store, stack = workspace.bundles(), RunningStack.find(workspace.run)
    answers = [] if stack is None else ask(stack)
    rows = [_row(store, version, answers) for version in store.versions()]
    if json_:
        typer.echo(json.dumps({"bundles": [asdict(row) for row in rows]}))
        return
    if not rows:
        raise CommandError(f"no bundle is published in {store.root}", "run `explore train`")
    wide_console().print(_table(rows))
    notes = [row.problem for row in rows if row.problem] + [
        f"{each.service}: {each.note}" for each in answers if each.note
    ]
    for note in notes:
        wide_console().print(Text(note))


def activate(context: typer.Context, version: Version, wait: Wait = _WAIT_S) -> None:
    """Make a bundle the one that serves, without a restart. Its files are verified first."""
    from features.dense import FINGERPRINT

    workspace: Workspace = context.obj
    store = workspace.bundles()
    target = store.find(version)
    store.open(target, FINGERPRINT, reread=True)
    _activate(workspace, target, wait)


def rollback(context: typer.Context, wait: Wait = _WAIT_S) -> None:
    """Go back to the bundle that was active before, which the services hold still."""
    workspace: Workspace = context.obj
    _activate(workspace, workspace.bundles().find("previous"), wait)


def hold(context: typer.Context, version: Version, wait: Wait = _WAIT_S) -> None:
    """Have every service hold a bundle besides the active one, as an experiment needs it. Its files are verified first."""
    from features.dense import FINGERPRINT

    workspace: Workspace = context.obj
    store = workspace.bundles()
    target = store.find(version)
    store.open(target, FINGERPRINT, reread=True)
    refuse_other_data(RunningStack.find(workspace.run), store.manifest(target))
    store.hold(target)
    typer.echo(f"bundle {target} is held besides the active one, until `explore release {target}`")
    wait_for(RunningStack.find(workspace.run), lambda answer: target in answer.versions, target, f"hold {target}", wait)


def release(context: typer.Context, version: Version) -> None:
    """Take `explore hold` back."""
    workspace: Workspace = context.obj
    store = workspace.bundles()
    # A version that is gone from the disk has no beginning that could be found; its full name will do.
    target = version if version in store.also() else store.find(version)
    store.release(target)
    typer.echo(f"bundle {target} is not held any more; services drop it once no request is pinned to it")


def _activate(workspace: Workspace, target: str, wait_s: float) -> None:
    store = workspace.bundles()
    before, manifest = store.current_version(), store.manifest(target)
    refuse_other_data(RunningStack.find(workspace.run), manifest)
    if before == target:
        typer.echo(f"bundle {target} is active already")
    else:
        store.activate(target)
        typer.echo(f"bundle {target} is active; before: {before or 'none'}")
    wait_for(
        RunningStack.find(workspace.run),
        lambda answer: answer.versions[:1] == (target,),
        target,
        f"serve {target}",
        wait_s,
    )


def _row(store: BundleStore, version: str, answers: list[ServedBundles]) -> BundleRow:
    try:
        manifest = store.manifest(version)
    except BundleError as error:
        dataset, metrics, created, problem = "", {}, "", str(error)
    else:
        dataset, metrics, problem = manifest.dataset, _headlines(manifest.metrics), ""
        created = datetime.fromtimestamp(manifest.created_at_ms // 1000, UTC).isoformat()
    served = tuple(answer.service for answer in answers if answer.versions[:1] == (version,))
    held = tuple(answer.service for answer in answers if version in answer.versions)
    return BundleRow(version, created, _state(store, version), dataset, served, held, metrics, problem)


def _state(store: BundleStore, version: str) -> str:
    pointer = store.pointer()
    states = dict(zip(pointer, ("active", "previous"), strict=False))
    named = [states[version]] if version in states else []
    return ", ".join([*named, *(["held"] if version in store.also() else [])])


def _headlines(metrics: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, path in _HEADLINES.items():
        value: Any = metrics
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, int | float):
            found[name] = float(value)
    return found


def _table(rows: list[BundleRow]) -> Table:
    table = Table(title="Bundles, oldest first", box=box.SIMPLE_HEAD)
    for column in ("version", "created (UTC)", "state", "data set", "served by"):
        table.add_column(column, no_wrap=column == "version")
    for name in _HEADLINES:
        table.add_column(name, justify="right")
    services = {service for row in rows for service in row.held_by}
    for row in rows:
        created = row.created.removesuffix("+00:00").replace("T", " ")
        figures = [f"{row.metrics[name]:.4f}" if name in row.metrics else "–" for name in _HEADLINES]
        table.add_row(
            row.version,
            created,
            row.state,
            "unreadable" if row.problem else Text(row.dataset),
            _served(row, len(services)),
            *figures,
        )
    return table


def _served(row: BundleRow, services: int) -> str:
    """Names where only some services serve or hold it, as while they switch."""
    parts = [f"all {services}" if len(row.served_by) == services else ", ".join(row.served_by)] if row.served_by else []
    held = [service for service in row.held_by if service not in row.served_by]
    if held:
        parts.append("held by " + ("all" if len(row.held_by) == services else ", ".join(held)))
    return "; ".join(parts)

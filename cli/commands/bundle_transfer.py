"""Commands that bring bundles to a store behind a URL and from there, and that remove old ones: below `explore bundles`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bundles import console
from bundles.__main__ import GRACE_S, shelf_of
from bundles.collect import LocalShelf, Rules, collect
from bundles.fetch import Fetcher
from bundles.push import Pusher
from bundles.remote import RemoteStore
from cli.bundle_switch import refuse_other_data, wait_for
from cli.stack import RunningStack
from cli.workspace import Workspace

Url = Annotated[str, typer.Argument(help="s3://bucket/path, gs://bucket/path or file:///path.", metavar="URL")]
Version = Annotated[
    str, typer.Argument(help='"active", "previous", or the beginning of a version or hash.', metavar="VERSION")
]
_WAIT_S = 30.0


def register(group: typer.Typer) -> None:
    """Adds the commands."""
    for command in (push, release, fetch, gc):
        group.command()(command)


def push(
    context: typer.Context,
    url: Url,
    version: Version = "active",
    hold: Annotated[
        bool, typer.Option("--hold", help="Services hold it besides; the active one stays active.")
    ] = False,
) -> None:
    """Bring a bundle to a URL and make it the active one there; whoever fetches from there follows."""
    workspace: Workspace = context.obj
    store = workspace.bundles()
    _show_progress()
    pushed = Pusher(store, RemoteStore(url)).push(store.find(version), hold)
    state = "held" if hold else "active"
    sent, there = _megabytes(pushed.uploaded), _megabytes(pushed.skipped)
    typer.echo(f"bundle {pushed.version} is {state} at {url}: {sent} sent, {there} there already")


def release(
    url: Url, version: Annotated[str, typer.Argument(help="As `explore bundles` shows it.", metavar="VERSION")]
) -> None:
    """Take `explore bundles push --hold` back; the bundle stays where it is until it is collected."""
    RemoteStore(url).release(version)
    typer.echo(f"bundle {version} is not held at {url} any more")


def fetch(
    context: typer.Context,
    url: Url,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the services of a running stack.", min=0)] = _WAIT_S,
) -> None:
    """Bring the bundles that are active and held at a URL here, and serve from them, without a restart."""
    workspace: Workspace = context.obj
    stack, remote = RunningStack.find(workspace.run), RemoteStore(url)
    refuse_other_data(stack, remote.manifest(remote.wanted().current))
    _show_progress()
    fetched = Fetcher(remote, workspace.bundles()).step()
    version = fetched.wanted.current
    for each, counts in fetched.versions.items():
        kept = _megabytes(counts.linked + counts.resumed)
        typer.echo(f"bundle {each}: {_megabytes(counts.downloaded)} downloaded, {kept} were here already")
    for problem in fetched.missing.values():
        typer.echo(f"goes on without it: {problem}", err=True)
    typer.echo(f"bundle {version} is active" if fetched.moved else f"bundle {version} is active already")
    wait_for(stack, lambda answer: answer.versions[:1] == (version,), version, f"serve {version}", wait)


def gc(
    context: typer.Context,
    place: Annotated[
        str, typer.Argument(help="A URL, or a directory of bundles; this workspace's by default.", metavar="[URL|ROOT]")
    ] = "",
    keep: Annotated[int, typer.Option(help="The newest so many stay, needed or not.", min=0)] = 3,
    grace: Annotated[
        float,
        typer.Option(help="Seconds that a version stays after it was found unused; longer than any fetch.", min=0),
    ] = GRACE_S,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed.")] = False,
) -> None:
    """Remove bundles that nobody needs: never the active one, the one before, those that are held, or the newest."""
    workspace: Workspace = context.obj
    shelf = shelf_of(place) if place else LocalShelf(workspace.bundles())
    collected = collect(shelf, Rules(keep, grace), dry_run)
    for version in collected.removed:
        typer.echo(f"{'would remove' if dry_run else 'removed'} {version}")
    for version, left_s in collected.waiting.items():
        typer.echo(f"unused, to be removed in {left_s:.0f} s or later: {version}")
    typer.echo(f"{len(collected.kept)} stay")


def _show_progress() -> None:
    """A line per file, for people only."""
    if sys.stderr.isatty():
        console.configure(sys.stderr)


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"

"""`explore takedown`: media and accounts that must disappear now, not with the next bundle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from bundles.disk import exclusive, swap_file
from cli.errors import CommandError
from cli.workspace import Workspace

_Ids = list[int]
_DEFAULT: _Ids = []
_LARGEST_ID = 2**63 - 1  # as in `serving.takedowns`, which refuses the whole file over a larger one


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(takedown)


def takedown(
    context: typer.Context,
    media: Annotated[
        _Ids, typer.Option(help="Id of a media item; may be given several times.", min=1, max=_LARGEST_ID)
    ] = _DEFAULT,
    account: Annotated[
        _Ids, typer.Option(help="Id of an account: everything that it posted.", min=1, max=_LARGEST_ID)
    ] = _DEFAULT,
    undo: Annotated[bool, typer.Option("--undo", help="Show them again.")] = False,
) -> None:
    """Take media or whole accounts off every page from the next request on, without training or restart.

    Without ids: show what is taken down.
    """
    workspace: Workspace = context.obj
    file = workspace.takedown_file
    entries = [f"media {each}" for each in media] + [f"account {each}" for each in account]
    if not entries:
        lines = _read(file)
        typer.echo("\n".join(lines) if lines else "nothing is taken down")
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(file.parent):  # what another moderator takes down meanwhile must not get lost
        _change(file, entries, undo)
    state = "shown again" if undo else "taken down"
    typer.echo(f"{', '.join(entries)}: {state} from the next page on ({file})")


def _change(file: Path, entries: list[str], undo: bool) -> None:
    lines = _read(file)
    held = {_entry(line) for line in lines}
    if undo:
        unknown = [entry for entry in entries if entry not in held]
        if unknown:
            raise CommandError(f"not taken down: {', '.join(unknown)}", "`explore takedown` shows what is")
        lines = [line for line in lines if _entry(line) not in entries]
    else:
        today = datetime.now(UTC).date().isoformat()
        lines += [f"{entry}  # {today}" for entry in entries if entry not in held]
    swap_file(file, "".join(f"{line}\n" for line in lines), durable=True)
    _read(file)


def _read(file: Path) -> list[str]:
    """The lines of the file. Raises CommandError if a service would refuse it: it must not be, or get, worse unseen."""
    from serving.takedowns import TakedownsRefused, read_takedowns

    if not file.exists():
        return []
    try:
        read_takedowns(file)
    except TakedownsRefused as error:
        raise CommandError(
            str(error), "correct or remove the line; the services go on with the list before it"
        ) from error
    return file.read_text(encoding="utf-8-sig").splitlines()  # as the services read it


def _entry(line: str) -> str:
    """What a line of a list that was read names, however it is written; empty for a comment."""
    words = line.split("#", 1)[0].split()
    return f"{words[0]} {int(words[1])}" if words else ""

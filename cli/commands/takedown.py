"""`explore takedown`: media and accounts that must disappear now, not with the next bundle."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import CommandError
from cli.workspace import Workspace

_Ids = list[int]
_DEFAULT: _Ids = []


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(takedown)


def takedown(
    context: typer.Context,
    media: Annotated[_Ids, typer.Option(help="Id of a media item; may be given several times.", min=1)] = _DEFAULT,
    account: Annotated[_Ids, typer.Option(help="Id of an account: everything that it posted.", min=1)] = _DEFAULT,
    undo: Annotated[bool, typer.Option("--undo", help="Show them again.")] = False,
) -> None:
    """Take media or whole accounts off every page from the next request on, without training or restart.

    Without ids: show what is taken down.
    """
    workspace: Workspace = context.obj
    file = workspace.takedown_file
    entries = [f"media {each}" for each in media] + [f"account {each}" for each in account]
    lines = _read(file)
    if not entries:
        typer.echo("\n".join(lines) if lines else "nothing is taken down")
        return
    held = {_entry(line) for line in lines}
    if undo:
        unknown = [entry for entry in entries if entry not in held]
        if unknown:
            raise CommandError(f"not taken down: {', '.join(unknown)}", "`explore takedown` shows what is")
        lines = [line for line in lines if _entry(line) not in entries]
    else:
        today = datetime.now(UTC).date().isoformat()
        lines += [f"{entry}  # {today}" for entry in entries if entry not in held]
    _write(file, lines)
    state = "shown again" if undo else "taken down"
    typer.echo(f"{', '.join(entries)}: {state} from the next page on ({file})")


def _read(file: Path) -> list[str]:
    """The lines of the file. Raises CommandError if a service would refuse it: it must not be made worse unseen."""
    from serving.takedowns import TakedownsRefused, read_takedowns

    try:
        read_takedowns(file)
    except TakedownsRefused as error:
        raise CommandError(
            str(error), "correct or remove the line; the services go on with the list before it"
        ) from error
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def _entry(line: str) -> str:
    return " ".join(line.split("#", 1)[0].split())


def _write(file: Path, lines: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.replace(fresh, file)

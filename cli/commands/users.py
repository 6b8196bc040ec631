"""`explore load-users`: the users of the active bundle's data set, for a Valkey that `explore up` did not start."""

from __future__ import annotations

from typing import Annotated

import typer
import valkey.exceptions

from cli.commands.stack import active_manifest, users_of
from cli.errors import CommandError
from cli.valkey_access import open_valkey
from cli.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(name="load-users")(load_users)


def load_users(
    context: typer.Context,
    store: Annotated[str, typer.Option("--valkey", help="URL, such as redis://HOST:6379/0.")],
) -> None:
    """Give a Valkey the users of the active bundle's data set; one that holds them already is left alone."""
    workspace: Workspace = context.obj
    name = active_manifest(workspace).dataset
    data = workspace.held_dataset(name)
    try:
        with open_valkey(store) as client:
            users_of(data)(client)
    except valkey.exceptions.ConnectionError as error:
        raise CommandError(
            f"Valkey does not answer: {error}", "is --valkey right, and may this machine call it?"
        ) from error
    except valkey.exceptions.ValkeyError as error:
        raise CommandError(f"Valkey refuses: {error}", "what it holds is unfinished: run this again") from error
    typer.echo(f"Valkey holds the users of data set {name!r}")

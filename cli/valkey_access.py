"""Opens the Valkey that a person named on the command line."""

from __future__ import annotations

from valkey import Valkey

from cli.errors import CommandError


def open_valkey(url: str) -> Valkey:
    """A client, which has not connected yet. Raises CommandError for what is no URL of a Valkey."""
    try:
        client: Valkey = Valkey.from_url(url)
    except ValueError as error:
        raise CommandError(
            f"--valkey is no URL of a Valkey: {error}", "for example redis://127.0.0.1:6379/0"
        ) from error
    return client

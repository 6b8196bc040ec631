"""How a command reaches a gateway: plainly on this machine, over TLS and with a key where one is asked for (docs/security.md)."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import grpc
import typer

from cli.errors import CommandError

MAX_PAGE_BYTES = 16 * 1024 * 1024  # one with `debug` holds every candidate

Address = Annotated[str | None, typer.Option(help="HOST:PORT of a gateway; the running stack's by default.")]
Authority = Annotated[
    Path | None, typer.Option("--ca", help="PEM file: whose certificates to believe. Calls the gateway over TLS.")
]
KeyFile = Annotated[Path | None, typer.Option("--key-file", help="File with the API key to show. Needs --ca.")]


@dataclass(frozen=True)
class Gateway:
    """A gateway to call."""

    address: str
    authority: Path | None = None
    key_file: Path | None = None

    def channel(self) -> grpc.Channel:
        """A channel that shows the key with every call. Raises CommandError for files that cannot be used.

        gRPC sends no key over a connection that others can read.
        """
        options = [("grpc.max_receive_message_length", MAX_PAGE_BYTES)]
        if self.authority is None:
            if self.key_file is not None:
                raise CommandError("--key-file needs --ca", "a key goes over TLS only")
            return grpc.insecure_channel(self.address, options)
        credentials = grpc.ssl_channel_credentials(_read(self.authority))
        if self.key_file is not None:
            # Some editors begin a text with a mark that nobody sees.
            key = _read(self.key_file).removeprefix(codecs.BOM_UTF8).decode("ascii", "replace").strip()
            credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(key))
        return grpc.secure_channel(self.address, credentials, options)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error

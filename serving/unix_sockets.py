"""Sockets on this machine, for services that share it: no TCP between them. Knows addresses, but no gRPC.

Who may call is what the file says: the server's own user, unless the umask lets others write.
"""

from __future__ import annotations

import socket

from serving.config import UNIX


def is_taken(address: str) -> bool:
    """Whether somebody listens on a unix:/PATH. A file that a killed server left behind is nobody; neither is HOST:PORT."""
    path = address.removeprefix(UNIX)
    if path == address:
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True

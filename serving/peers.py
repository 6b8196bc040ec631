"""Which services may call this one: by the names in their certificates, which one of our authorities has signed."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import Any

from serving.deadline import Clock
from serving.errors import PermissionDenied
from serving.gates import Gate

QUIET_S = 10.0  # strangers are logged once in this time, however often they call

_log = logging.getLogger(__name__)


class PeerGate(Gate):
    """Lets through whose certificate has one of the names. The port has checked the certificate itself (serving/tls.py)."""

    def __init__(self, peers: Collection[str], now: Clock = time.monotonic) -> None:
        self._peers, self._now = frozenset(peers), now
        self._quiet_until = float("-inf")

    def admit(self, method: str, data: bytes | None, context: Any) -> None:
        """Raises PermissionDenied that names the caller."""
        names = identities(context)
        if self._peers.isdisjoint(names):
            caller = ", ".join(names) or "a caller without a DNS or URI name in its certificate"
            self._report(caller, method)
            raise PermissionDenied(f"{caller} may not call {method}: EXPLORE_TLS_PEERS names who may")

    def _report(self, caller: str, method: str) -> None:
        if self._now() >= self._quiet_until:
            self._quiet_until = self._now() + QUIET_S
            _log.warning("a stranger was turned away", extra={"caller": caller, "method": method})


def identities(context: Any) -> list[str]:
    """The DNS and URI names of the caller's certificate; none on a port that asks for no certificate."""
    found = context.auth_context()
    return [name.decode("utf-8", "replace") for kind in ("peer_dns", "peer_uri") for name in found.get(kind, ())]

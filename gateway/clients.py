"""The gate of the public port: which client calls, what it may do, and how often. Follows the file of keys as it changes.

The limits are those of one gateway: several replicas each allow as much (docs/decisions/0024).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION

from gateway.admission import GET_FEED
from gateway.clients_bucket import TokenBucket
from gateway.clients_file import Client, Scope, find, read_clients
from protos.explore.v1 import feedback_pb2
from protos.explore.v1.feed_pb2 import GetFeedRequest
from serving.deadline import Clock
from serving.errors import Overloaded, PermissionDenied, Unauthenticated
from serving.gates import Gate
from serving.status import STATUS
from serving.watched import WatchedFile

KEY, AUTHORIZATION, BEARER = "x-api-key", "authorization", "bearer "
QUIET_S = 10.0  # callers that are turned away are logged once in this time

_FEEDBACK = f"/{feedback_pb2.DESCRIPTOR.services_by_name['FeedbackService'].full_name}"
SCOPES: dict[str, Scope] = {
    GET_FEED: Scope.FEED,
    f"{_FEEDBACK}/LogEvents": Scope.FEEDBACK,
    f"{_FEEDBACK}/StreamEvents": Scope.FEEDBACK,
    f"{_FEEDBACK}/SetRelations": Scope.FEEDBACK,
    f"{_FEEDBACK}/DeleteUser": Scope.DELETE,
    f"/{STATUS}/GetStatus": Scope.STATUS,
    f"/{REFLECTION}/ServerReflectionInfo": Scope.STATUS,
}

_log = logging.getLogger(__name__)


class ClientGate(Gate):
    """Keys, scopes and rates. A method that is not in SCOPES is nobody's to call."""

    def __init__(
        self,
        file: Path,
        now: Clock = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises ClientsRefused."""
        self._file = WatchedFile(file, read_clients)
        self._now, self._sleep = now, sleep
        self._clients: tuple[Client, ...] = ()  # those that there are buckets for
        self._buckets: dict[str, TokenBucket] = {}
        self._quiet_until = -math.inf

    @property
    def refused(self) -> str:
        """Why a changed file is not used; empty if it is."""
        return self._file.refused

    def admit(self, method: str, data: bytes | None, context: Any) -> None:
        """Raises Unauthenticated, PermissionDenied, or Overloaded that says when to come back."""
        client = self._authorised(method, data, context)
        wait_s = self._buckets[client.name].take()
        if wait_s > 0:
            limits = f"{client.per_second:g} calls a second, {client.burst} at once"
            raise Overloaded(f"key {client.name!r} is exhausted: {limits}", math.ceil(wait_s * 1000))

    async def pace(self, method: str, context: Any) -> None:
        """A message counts as a call, but waits for its token: flow control then holds up the sender, and nothing is lost.

        Raises Unauthenticated or PermissionDenied once the key is taken back.
        """
        while True:
            client = self._authorised(method, None, context)
            if not (wait_s := self._buckets[client.name].take()):
                return
            await self._sleep(wait_s)

    def _authorised(self, method: str, data: bytes | None, context: Any) -> Client:
        key = shown_key(context)
        client = None if key is None else find(self._current(), key)
        if client is None:
            what = "no key" if key is None else "an unknown key"
            self._report(f"a caller with {what} was turned away", method)
            raise Unauthenticated(f"the call has {what}: send one as {KEY}, or as {AUTHORIZATION}: Bearer KEY")
        lacking = [scope for scope in _needed(method, data) if scope not in client.scopes]
        if lacking:
            self._report(f"key {client.name!r} was turned away", method)
            raise PermissionDenied(f"key {client.name!r} may not call {method}: it lacks the scope {lacking[0]!r}")
        return client

    def _current(self) -> tuple[Client, ...]:
        clients = self._file.value()
        if clients is not self._clients:
            kept, self._buckets, self._clients = self._buckets, {}, clients
            for each in clients:
                bucket = kept.get(each.name) or TokenBucket(each.per_second, each.burst, self._now)
                bucket.reshape(each.per_second, each.burst)
                self._buckets[each.name] = bucket
        return clients

    def _report(self, what: str, method: str) -> None:
        if self._now() >= self._quiet_until:
            self._quiet_until = self._now() + QUIET_S
            _log.warning("%s", what, extra={"method": method})


def shown_key(context: Any) -> str | None:
    """The key that came with a call, if any."""
    found: dict[str, str] = dict(context.invocation_metadata() or ())
    if (key := found.get(KEY)) is not None:
        return key
    authorization = found.get(AUTHORIZATION, "")
    is_bearer = authorization[: len(BEARER)].lower() == BEARER
    return authorization[len(BEARER) :].strip() if is_bearer else None


def _needed(method: str, data: bytes | None) -> list[str]:
    scopes: list[str] = [SCOPES.get(method, f"of {method}")]  # a scope that no key can have
    if method == GET_FEED and data is not None and _looks_behind(data):
        scopes.append(Scope.DEBUG)
    return scopes


def _looks_behind(data: bytes) -> bool:
    try:
        request = GetFeedRequest.FromString(data)
    except DecodeError:
        return False  # it will be refused for that
    return request.debug or request.preview

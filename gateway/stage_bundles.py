"""Which bundle versions the stages hold: the gateway serves from a version only when every replica of every stage holds it.

Asks StatusService, which answers at any load. Knows channels and versions; knows neither pages nor what a bundle is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import grpc.aio

from protos.explore.v1.status_pb2 import GetStatusRequest, GetStatusResponse
from protos.explore.v1.status_pb2_grpc import StatusServiceStub
from serving.bundle_follower import Lack
from serving.calling import AttemptFailed, attempt

ANSWER_S = 1.0  # who takes longer to say what it holds counts as away


@dataclass(frozen=True)
class Endpoint:
    """One replica of a stage, or one channel to all of them."""

    stage: str
    address: str
    channel: grpc.aio.Channel

    def __str__(self) -> str:
        return f"{self.stage} {self.address}"


class StageBundles:
    """A gate (`serving.bundle_follower.Gate`). `endpoints` is asked for every look: replicas come and go."""

    def __init__(self, endpoints: Callable[[], Sequence[Endpoint]], patience_s: float) -> None:
        self.patience_s = patience_s
        self._endpoints = endpoints
        self._held: dict[str, frozenset[str] | None] = {}  # by endpoint; None: it is not ready, or does not answer

    async def look(self, pinned: Sequence[str]) -> None:
        """Asks every endpoint what it holds, all at once, and tells it which versions requests are pinned to."""
        endpoints = self._endpoints()
        answers = await asyncio.gather(*(_ask(endpoint, pinned) for endpoint in endpoints))
        self._held = {str(endpoint): held for endpoint, held in zip(endpoints, answers, strict=True)}

    def lack(self, version: str) -> Lack:
        """Who does not hold a version, and who could not be asked."""
        away = tuple(name for name, held in self._held.items() if held is None)
        return Lack(tuple(name for name, held in self._held.items() if held is not None and version not in held), away)


async def _ask(endpoint: Endpoint, pinned: Sequence[str]) -> frozenset[str] | None:
    method: Callable[..., Awaitable[GetStatusResponse]] = StatusServiceStub(endpoint.channel).GetStatus
    try:
        answer = await attempt(method(GetStatusRequest(pinned_versions=pinned), timeout=ANSWER_S))
    except AttemptFailed:
        return None
    # Who is not ready gets no requests, whatever it holds by now.
    return None if answer.not_ready_reason else frozenset(answer.bundle_versions)

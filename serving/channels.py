"""How one service calls another: channels, connections to all replicas of a stage, and clients with one method each.

client ─► Coalescer (requests that wait share a call) ─► StageCalls (one attempt or two) ─► Replicas (which endpoint) ─► channel
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import grpc
import grpc.aio

from protos.explore.v1 import ranking_pb2, ranking_pb2_grpc, retrieval_pb2, retrieval_pb2_grpc
from serving.call_policy import CallPolicy
from serving.calling import ChannelCalls, Method, StageCalls
from serving.coalescing import BatchCounts, Coalescer, Joining
from serving.columns import Ranked
from serving.replicas import Replicas
from serving.tls import TlsDirectory
from serving.wire import RankAsk, RetrieveAsk, Sourced
from serving.wire.joining import RankJoining, RetrieveJoining

Request = TypeVar("Request")
Response = TypeVar("Response")
Ask = Callable[[Request, float], Awaitable[Response]]

RENEWAL_LOOK_S = 1.0  # how often to look for new certificates; one look is three `stat`s

# Every address behind the name gets its share, and a server that says NOT_SERVING gets nothing.
_SERVICE_CONFIG = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}, "methodConfig": []}
)


def open_channel(
    address: str, name: str = "", max_message_bytes: int = 16 * 1024 * 1024, tls: TlsDirectory | None = None
) -> grpc.aio.Channel:
    """A channel to all servers behind `address` (HOST:PORT or dns:///HOST:PORT). Opens connections when first used.

    `tls`: what it shows; the server's certificate must be for `name`, by default for the host of the address. The certificates are
    those of this moment: gRPC has no channel that takes others later.
    """
    options: list[tuple[str, int | str]] = [
        ("grpc.service_config", _SERVICE_CONFIG),
        # Without a retryPolicy: only calls that no server has seen, as when a connection ages.
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 10_000),  # finds a dead peer within seconds instead of TCP's minutes
        ("grpc.keepalive_timeout_ms", 2_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),  # an address that swallows packets is given up after this time
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.use_local_subchannel_pool", 1),  # a new channel does not inherit the backoff of an old one
    ]
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    if name:  # an endpoint of a dns:/// name is called by its address, which no certificate is for
        options.append(("grpc.ssl_target_name_override", name))
    return grpc.aio.secure_channel(address, tls.current().channel_credentials(), options=options)


OpenChannel = Callable[..., grpc.aio.Channel]  # `open_channel`, or what knows of nearer servers


class StageConnection:
    """Everything between a client and the replicas of one stage. Must be made inside the event loop, and closed."""

    def __init__(
        self,
        stage: str,
        addresses: str,
        policy: CallPolicy,
        max_message_bytes: int,
        tls: TlsDirectory | None = None,
        open_channel: OpenChannel = open_channel,
    ) -> None:
        """Raises ValueError unless `addresses` is HOST:PORT, dns:///HOST:PORT or a list of them."""
        self.stage, self.policy = stage, policy
        opener = partial(open_channel, max_message_bytes=max_message_bytes, tls=tls)
        self.replicas = Replicas(addresses, opener, policy)
        self._renewing = None if tls is None else asyncio.create_task(self._keep_renewed(tls))
        self.calls = StageCalls(stage, self.replicas, policy)
        self._coalescers: list[Coalescer[Any, Any]] = []

    def shared(self, send: Ask[Request, Response], joining: Joining[Request, Response]) -> Ask[Request, Response]:
        """`send`, but requests that wait share a call. Raises CallError, as `send` does."""
        if self.policy.batch_users == 1:
            return send
        coalescer = Coalescer(self.stage, send, joining, self._width, self.policy)
        self._coalescers.append(coalescer)
        return coalescer.call

    def snapshot(self) -> dict[str, int | float | str]:
        """What became of the calls since the start, how many endpoints there are now, and what is wrong with them."""
        shared = [asdict(coalescer.counts) for coalescer in self._coalescers]
        return {
            "stage": self.stage,
            **asdict(self.calls.counts),
            **{name: sum(counts[name] for counts in shared) for name in asdict(BatchCounts())},
            "endpoints": len(self.replicas.endpoints()),
            "usable_endpoints": self.replicas.usable(),
            "open_breakers": self.replicas.open_breakers(),
            "trouble": self.replicas.trouble(),
        }

    async def close(self) -> None:
        """Ends all calls and closes all channels."""
        if self._renewing is not None:
            self._renewing.cancel()
        for coalescer in self._coalescers:
            await coalescer.close()
        await self.replicas.close()

    async def _keep_renewed(self, tls: TlsDirectory) -> None:
        shown = tls.current()
        while True:
            await asyncio.sleep(RENEWAL_LOOK_S)
            if (files := tls.current()) is not shown:
                shown = files
                self.replicas.renew()

    def _width(self) -> int:
        return max(self.replicas.usable(), 1) * self.policy.calls_per_endpoint


class RetrieveCalls:
    """Calls RetrievalService with messages, over replicas or over a single channel: nothing is shared, and nothing checked."""

    def __init__(self, via: Via, stage: str = "retrieval") -> None:
        self.stage = stage
        self._send: Ask[retrieval_pb2.RetrieveRequest, retrieval_pb2.RetrieveResponse] = _sender(via, stage, _retrieve)

    async def retrieve(
        self, request: retrieval_pb2.RetrieveRequest, timeout_s: float
    ) -> retrieval_pb2.RetrieveResponse:
        """The answer to one message. Raises CallError."""
        return await self._send(request, timeout_s)


class RetrievalClient:
    """Asks retrieval, or one of its shards, over replicas or over a single channel; somebody else closes them."""

    def __init__(self, via: Via, stage: str = "retrieval") -> None:
        self.stage = stage
        self._calls = RetrieveCalls(via, stage)
        self._ask = via.shared(self._send, RetrieveJoining()) if isinstance(via, StageConnection) else self._send

    async def retrieve(self, ask: RetrieveAsk, timeout_s: float) -> Sourced:
        """The answer, checked. Raises CallError; StageContractViolation for one that cannot be an answer to this."""
        return await self._ask(ask, timeout_s)

    async def _send(self, ask: RetrieveAsk, timeout_s: float) -> Sourced:
        return ask.answer(await self._calls.retrieve(ask.message(), timeout_s), self.stage)


class RankCalls:
    """Calls RankingService with messages, over replicas or over a single channel: nothing is shared, and nothing checked."""

    def __init__(self, via: Via, stage: str) -> None:
        self.stage = stage
        self._send: Ask[ranking_pb2.RankRequest, ranking_pb2.RankResponse] = _sender(via, stage, _rank)

    async def rank(self, request: ranking_pb2.RankRequest, timeout_s: float) -> ranking_pb2.RankResponse:
        """The answer to one message. Raises CallError."""
        return await self._send(request, timeout_s)


class RankingClient:
    """Asks a ranking stage, over replicas or over a single channel; somebody else closes them."""

    def __init__(self, via: Via, stage: str) -> None:
        self.stage = stage
        self._calls = RankCalls(via, stage)
        self._ask = via.shared(self._send, RankJoining()) if isinstance(via, StageConnection) else self._send

    async def rank(self, ask: RankAsk, timeout_s: float) -> Ranked:
        """The answer, checked. Raises CallError; StageContractViolation for one that cannot be an answer to this."""
        return await self._ask(ask, timeout_s)

    async def _send(self, ask: RankAsk, timeout_s: float) -> Ranked:
        return ask.answer(await self._calls.rank(ask.message(), timeout_s), self.stage)


Via = grpc.aio.Channel | StageConnection


def _sender(via: Via, stage: str, method: Method[Response]) -> Ask[Any, Response]:
    calls = via.calls if isinstance(via, StageConnection) else ChannelCalls(stage, via)
    return partial(calls.call, method)


class _OncePerChannel(Generic[Response]):
    """The method of a channel, made when it is first asked for and gone with the channel: making one for each call costs time."""

    def __init__(self, make: Method[Response]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[grpc.aio.Channel, Callable[..., Awaitable[Response]]] = WeakKeyDictionary()

    def __call__(self, channel: grpc.aio.Channel) -> Callable[..., Awaitable[Response]]:
        found = self._made.get(channel)
        if found is None:
            found = self._made[channel] = self._make(channel)
        return found


_retrieve: Method[retrieval_pb2.RetrieveResponse] = _OncePerChannel(
    lambda channel: retrieval_pb2_grpc.RetrievalServiceStub(channel).Retrieve
)
_rank: Method[ranking_pb2.RankResponse] = _OncePerChannel(
    lambda channel: ranking_pb2_grpc.RankingServiceStub(channel).Rank
)

"""How one service calls another: channels, and clients that turn gRPC's errors into ours. No retries: the caller has a budget."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio

from protos.explore.v1 import ranking_pb2, ranking_pb2_grpc, retrieval_pb2, retrieval_pb2_grpc
from serving.errors import BundleNotHeld, CallError, DeadlineExceeded, Overloaded, StageFailed, Unavailable

Response = TypeVar("Response")

# Every address behind the name gets its share, and a server that says NOT_SERVING gets nothing.
_SERVICE_CONFIG = json.dumps(
    {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}, "methodConfig": []}
)


def open_channel(address: str, max_message_bytes: int = 16 * 1024 * 1024) -> grpc.aio.Channel:
    """A channel to all servers behind `address` (HOST:PORT or dns:///HOST:PORT). Opens connections when first used."""
    return grpc.aio.insecure_channel(
        address,
        options=[
            ("grpc.service_config", _SERVICE_CONFIG),
            ("grpc.enable_retries", 0),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            ("grpc.keepalive_time_ms", 10_000),  # finds a dead peer within seconds instead of TCP's minutes
            ("grpc.keepalive_timeout_ms", 2_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
        ],
    )


class RetrievalClient:
    """Calls RetrievalService over a channel that somebody else closes."""

    def __init__(self, channel: grpc.aio.Channel, stage: str = "retrieval") -> None:
        self.stage = stage
        self._stub = retrieval_pb2_grpc.RetrievalServiceStub(channel)

    async def retrieve(
        self, request: retrieval_pb2.RetrieveRequest, timeout_s: float
    ) -> retrieval_pb2.RetrieveResponse:
        """The answer, unchecked (`wire.decode_retrieve_response` checks it). Raises CallError."""
        method: Callable[..., Awaitable[retrieval_pb2.RetrieveResponse]] = self._stub.Retrieve
        return await _call(self.stage, method, request, timeout_s)


class RankingClient:
    """Calls RankingService over a channel that somebody else closes."""

    def __init__(self, channel: grpc.aio.Channel, stage: str) -> None:
        self.stage = stage
        self._stub = ranking_pb2_grpc.RankingServiceStub(channel)

    async def rank(self, request: ranking_pb2.RankRequest, timeout_s: float) -> ranking_pb2.RankResponse:
        """The answer, unchecked (`wire.decode_rank_response` checks it). Raises CallError."""
        method: Callable[..., Awaitable[ranking_pb2.RankResponse]] = self._stub.Rank
        return await _call(self.stage, method, request, timeout_s)


async def _call(stage: str, method: Callable[..., Awaitable[Response]], request: Any, timeout_s: float) -> Response:
    if not timeout_s > 0:
        raise DeadlineExceeded(stage, 0.0)
    try:
        return await method(request, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        raise _ours(stage, error, timeout_s, request.bundle_version) from error


def _ours(stage: str, error: grpc.aio.AioRpcError, timeout_s: float, bundle_version: str) -> CallError:
    status, detail = error.code(), error.details() or ""
    match status:
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(stage, timeout_s)
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return Unavailable(stage, detail)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return Overloaded(f"{stage}: {detail}")
        case grpc.StatusCode.FAILED_PRECONDITION:
            return BundleNotHeld(bundle_version, ())
        case _:
            return StageFailed(stage, status, detail)

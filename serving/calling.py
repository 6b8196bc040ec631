"""One call to a stage of several replicas: which endpoint, whether once more, and what its failure is called.

An attempt is one call to one endpoint. A call has one attempt, or two: a retry after the first was lost, or a hedge beside a first
that takes unusually long. Both are extra calls of one budget. Never a third.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.descriptor import Descriptor

from serving import tracing
from serving.breaker import Outcome
from serving.call_policy import CallPolicy
from serving.deadline import Clock
from serving.errors import BundleNotHeld, CallError, DeadlineExceeded, Overloaded, StageFailed, Unavailable
from serving.hedging import RecentQuantile, first_good
from serving.interceptors import PUSHBACK
from serving.replicas import Endpoint, Replicas
from serving.retry_budget import RetryBudget
from serving.tracing import Span

Response = TypeVar("Response")
Method = Callable[[grpc.aio.Channel], Callable[..., Awaitable[Response]]]  # the RPC of a stage, on any channel

_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)  # a server that stops cancels what it has not finished


@dataclass
class CallCounts:
    """What became of the calls of one stage since the start."""

    calls: int = 0  # without retries and hedges
    retries: int = 0
    hedges: int = 0
    hedges_won: int = 0


class AttemptFailed(Exception):
    """One attempt did not bring an answer. Whoever made it says what that means; callers of a stage get a CallError."""

    def __init__(self, status: grpc.StatusCode, detail: str, pushback: str | None = None) -> None:
        super().__init__(f"{status.name}: {detail}")
        self.status, self.detail, self._pushback = status, detail, pushback

    def retry_after_s(self) -> float | None:
        """How long to wait before another attempt; None: there must not be one.

        Whoever sheds load asks for retries in so many words; whoever is not there cannot say anything.
        """
        if self._pushback is None:
            return 0.0 if self.status in _LOST else None
        try:
            wait_s = int(self._pushback) / 1000
        except ValueError:
            return None
        return wait_s if wait_s >= 0 and self.status in (*_LOST, grpc.StatusCode.RESOURCE_EXHAUSTED) else None

    def ours(self, stage: str, timeout_s: float, bundle_version: str) -> CallError:
        """The error of `serving.errors` that the caller gets."""
        match self.status:
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return DeadlineExceeded(stage, timeout_s)
            case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
                return Unavailable(stage, self.detail)
            case grpc.StatusCode.RESOURCE_EXHAUSTED:
                return Overloaded(f"{stage}: {self.detail}")
            case grpc.StatusCode.FAILED_PRECONDITION:
                return BundleNotHeld(bundle_version, ())
            case _:
                return StageFailed(stage, self.status, self.detail)


async def attempt(call: Awaitable[Response]) -> Response:
    """The answer to a gRPC call. Raises AttemptFailed, also when the channel is closed meanwhile, which gRPC calls cancelled;
    CancelledError only if the caller is cancelled."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        metadata: Mapping[str, str | bytes] = dict(error.trailing_metadata() or ())  # type: ignore[arg-type]
        pushback = metadata.get(PUSHBACK)
        raise AttemptFailed(error.code(), error.details() or "", None if pushback is None else str(pushback)) from error
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise AttemptFailed(grpc.StatusCode.UNAVAILABLE, "the channel was closed") from None


async def _told_to(span: Span, call: Awaitable[Response]) -> Response:
    """As `attempt`; the span learns how it ended."""
    try:
        answer = await attempt(call)
    except AttemptFailed as failed:
        span.set("rpc.response.status_code", failed.status.name)
        span.fail(failed.status.name)
        raise
    span.set("rpc.response.status_code", grpc.StatusCode.OK.name)
    return answer


@lru_cache
def _method_that_takes(taken: Descriptor) -> str:
    """The RPC of a request's message, as no two of ours take the same one."""
    methods = [method for service in taken.file.services_by_name.values() for method in service.methods]
    return next(f"{each.containing_service.full_name}/{each.name}" for each in methods if each.input_type is taken)


class ChannelCalls:
    """Calls over one channel that somebody else closes: one attempt, no more."""

    def __init__(self, stage: str, channel: grpc.aio.Channel) -> None:
        self._stage, self._channel = stage, channel

    async def call(self, method: Method[Response], request: Any, timeout_s: float) -> Response:
        """The answer. Raises CallError."""
        if not timeout_s > 0:
            raise DeadlineExceeded(self._stage, 0.0)
        try:
            return await attempt(method(self._channel)(request, timeout=timeout_s, **tracing.outgoing()))
        except AttemptFailed as failed:
            raise failed.ours(self._stage, timeout_s, request.bundle_version) from failed


@dataclass
class _Call:
    """One call while it is under way."""

    method: str  # "package.Service/Method"
    ask: Callable[[grpc.aio.Channel, float], Awaitable[Any]]
    ends: float
    extra: bool = False  # it has had its second attempt
    answered: bool = False


class StageCalls:
    """Calls over the replicas of one stage."""

    def __init__(self, stage: str, replicas: Replicas, policy: CallPolicy, now: Clock = time.monotonic) -> None:
        self.counts = CallCounts()
        self._stage, self._replicas, self._now = stage, replicas, now
        self._budget = RetryBudget(policy, now)
        self._hedges = policy.hedge_quantile is not None
        self._usual = RecentQuantile(policy.hedge_quantile or 0.95, policy.hedge_after_calls)

    async def call(self, method: Method[Response], request: Any, timeout_s: float) -> Response:
        """The answer. Raises CallError; at once, and without a call, if every endpoint is known to fail."""
        if not timeout_s > 0:
            raise DeadlineExceeded(self._stage, 0.0)
        began = self._now()

        def ask(channel: grpc.aio.Channel, left_s: float) -> Awaitable[Response]:
            return method(channel)(request, timeout=left_s, **tracing.outgoing())

        first = await self._first(timeout_s)
        call = _Call(_method_that_takes(request.DESCRIPTOR), ask, began + timeout_s)
        self.counts.calls += 1
        self._budget.count_call()
        try:
            response: Response = await self._answer(first, call)
        except AttemptFailed as failed:
            if failed.status is grpc.StatusCode.DEADLINE_EXCEEDED and timeout_s >= (self._usual.value() or 0.0):
                self._usual.add(timeout_s)  # it takes at least as long; a caller in a hurry says nothing about that
            raise failed.ours(self._stage, timeout_s, request.bundle_version) from failed
        self._usual.add(self._now() - began)
        return response

    async def _first(self, timeout_s: float) -> Endpoint:
        if not self._replicas.looked_up.is_set():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._replicas.looked_up.wait()
            except TimeoutError:
                raise DeadlineExceeded(self._stage, timeout_s) from None
        first = self._replicas.pick()
        if first is None:
            self._replicas.failed()
            raise Unavailable(self._stage, self._replicas.trouble())
        return first

    async def _answer(self, first: Endpoint, call: _Call) -> Any:
        try:
            return await self._perhaps_hedged(first, call)
        except AttemptFailed as failed:
            wait_s = failed.retry_after_s()
            if call.extra or wait_s is None or self._now() + wait_s >= call.ends:
                raise
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            other = self._replicas.after(first)
            if other is None or not self._budget.spend():
                raise
        self.counts.retries += 1
        return await self._attempt(other, call, "retry")

    async def _perhaps_hedged(self, first: Endpoint, call: _Call) -> Any:
        usual_s = self._usual.value()
        alone = not self._hedges or len(self._replicas.endpoints()) == 1
        if alone or usual_s is None or self._now() + usual_s >= call.ends:
            return await self._attempt(first, call)
        answer, hedge_won = await first_good(
            self._attempt(first, call), usual_s, lambda: self._hedge(first, call), AttemptFailed
        )
        self.counts.hedges_won += hedge_won
        return answer

    def _hedge(self, first: Endpoint, call: _Call) -> Any:
        other = self._replicas.another(first)
        if other is None or not self._budget.spend():
            return None
        call.extra = True
        self.counts.hedges += 1
        return self._attempt(other, call, "hedge")

    async def _attempt(self, endpoint: Endpoint, call: _Call, which: str = "first") -> Any:
        began = self._now()
        left_s = call.ends - began
        begun, outcome = endpoint.begin(), Outcome.UNKNOWN
        try:
            with tracing.calling(call.method, endpoint.address, which) as span:
                answer = await _told_to(span, call.ask(endpoint.channel, left_s))
            call.answered, outcome = True, Outcome.ANSWERED
        except AttemptFailed as failed:
            outcome = self._blame(failed, left_s)
            if outcome is Outcome.LOST:
                endpoint.last_error = failed.detail
                self._replicas.failed()
            elif outcome is Outcome.LATE:
                endpoint.last_error = f"no answer within {left_s * 1000:.0f} ms"
            raise
        except asyncio.CancelledError:
            if call.answered and self._now() - began >= (self._usual.value() or math.inf):
                endpoint.last_error, outcome = "another endpoint was asked later and answered first", Outcome.LATE
            raise
        finally:
            endpoint.end(begun, outcome)
        return answer

    def _blame(self, failed: AttemptFailed, left_s: float) -> Outcome:
        """A caller with less time than answers usually take learns nothing about the endpoint."""
        if failed.status in _LOST:
            return Outcome.LOST
        if failed.status is not grpc.StatusCode.DEADLINE_EXCEEDED:
            return Outcome.ANSWERED
        return Outcome.UNKNOWN if left_s < (self._usual.value() or -math.inf) else Outcome.LATE

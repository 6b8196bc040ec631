"""Requests that wait for the same stage share a call. No timer: what comes while enough calls are out leaves with the next return.

A request that finds a free call is sent when the turn of the event loop is over, so a lone one never waits, and those whose answers
of the stage before came in one call go on together. The busier a stage, the larger its batches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from serving import tracing
from serving.call_policy import CallPolicy
from serving.deadline import Clock
from serving.errors import BundleNotHeld, DeadlineExceeded, Overloaded, StageContractViolation, StageFailed, Unavailable
from serving.hedging import RecentQuantile
from serving.tracing import Span
from serving.wire.joining import NotJoinable

Request = TypeVar("Request", bound=Any)
Response = TypeVar("Response")

# What one member of a batch may have brought about: nobody is to pay for a neighbour.
_SOMEBODYS_FAULT = (StageFailed, BundleNotHeld, StageContractViolation, NotJoinable)
# How long nearly every call takes, from few and recent ones: a queue that believes in slow calls for long gives up too much.
_NEARLY_ALL, _ENOUGH_CALLS, _RECENT_CALLS = 0.9, 5, 64


class Joining(Protocol[Request, Response]):
    """How requests become one, and its answer theirs (`wire/joining.py`)."""

    def key(self, request: Request) -> Hashable | None: ...
    def users(self, request: Request) -> int: ...
    def size(self, request: Request) -> int: ...
    def join(self, requests: Sequence[Request]) -> Request: ...
    def part(self, stage: str, response: Response, requests: Sequence[Request]) -> list[Response]: ...


@dataclass(eq=False)
class _Waiter(Generic[Request, Response]):
    """A request on its way, and whoever waits for its answer."""

    request: Request
    key: Hashable | None  # None: goes alone
    ends: float
    timeout_s: float
    answer: asyncio.Future[Response]
    batch: _Batch[Request, Response] | None = None  # None while it is queued
    context: Context = field(default_factory=copy_context)  # of the call that it was made for
    span: Span = field(default_factory=tracing.current)


@dataclass
class BatchCounts:
    """How requests shared calls since the start."""

    batches: int = 0  # calls that carried several requests
    batched: int = 0  # requests that they carried
    hopeless: int = 0  # requests that were given up in the queue, before any work


@dataclass(eq=False)
class _Batch(Generic[Request, Response]):
    members: list[_Waiter[Request, Response]]
    ends: float  # the deadline of its call
    task: asyncio.Task[None] | None = None


class Coalescer(Generic[Request, Response]):
    """The queue in front of one stage. `send` makes a call; `width` says how many calls may be out now."""

    def __init__(
        self,
        stage: str,
        send: Callable[[Request, float], Awaitable[Response]],
        joining: Joining[Request, Response],
        width: Callable[[], int],
        policy: CallPolicy,
        now: Clock = time.monotonic,
    ) -> None:
        self.counts = BatchCounts()
        self._stage, self._send, self._joining, self._width = stage, send, joining, width
        self._policy, self._now = policy, now
        self._typical = RecentQuantile(_NEARLY_ALL, _ENOUGH_CALLS, _RECENT_CALLS)
        self._out = 0
        self._waiting: dict[_Waiter[Request, Response], None] = {}  # in order; whoever leaves is gone at once
        self._batches: dict[asyncio.Task[None], _Batch[Request, Response]] = {}

    async def call(self, request: Request, timeout_s: float) -> Response:
        """The answer to this request alone. Raises CallError, as `send` does; Overloaded if too many wait."""
        if not timeout_s > 0:
            raise DeadlineExceeded(self._stage, 0.0)
        if self._waiting or not self._has_room():
            if len(self._waiting) >= self._policy.max_waiting:
                raise Overloaded(f"{self._stage}: {len(self._waiting)} requests wait for it already")
            waiter = self._waiter(request, timeout_s)
            self._waiting[waiter] = None
            self._dispatch()
            return await self._answer(waiter)
        self._out += 1
        try:
            # Others may ask in the same turn. If the first went ahead, they would wait for it, and batches fall apart on their way.
            await asyncio.sleep(0)
            if not self._waiting:
                return await self._timed(request, timeout_s)
            waiter = self._waiter(request, timeout_s)
            self._waiting = {waiter: None, **self._waiting}
        finally:
            self._returned()
        return await self._answer(waiter)

    async def close(self) -> None:
        """Cancels the calls that are out; whoever waits is told."""
        members = [*self._waiting, *(waiter for batch in self._batches.values() for waiter in batch.members)]
        self._waiting.clear()
        _fail(members, Unavailable(self._stage, "the caller is closing"))
        for task in self._batches:
            task.cancel()
        await asyncio.gather(*self._batches, return_exceptions=True)

    def _has_room(self) -> bool:
        return self._out == 0 or self._out < self._width()  # there is always room for one

    def _waiter(self, request: Request, timeout_s: float) -> _Waiter[Request, Response]:
        answer = asyncio.get_running_loop().create_future()
        return _Waiter(request, self._joining.key(request), self._now() + timeout_s, timeout_s, answer)

    async def _answer(self, waiter: _Waiter[Request, Response]) -> Response:
        try:
            async with asyncio.timeout(waiter.ends - self._now()):
                return await waiter.answer
        except TimeoutError:
            raise DeadlineExceeded(self._stage, waiter.timeout_s) from None
        finally:
            self._leave(waiter)

    async def _timed(self, request: Request, timeout_s: float) -> Response:
        began, answered = self._now(), False
        try:
            response = await self._send(request, timeout_s)
            answered = True
        finally:
            took_s = self._now() - began
            if answered or took_s >= (self._typical.value() or 0.0):  # one that was given up takes at least as long
                self._typical.add(took_s)
        return response

    def _leave(self, waiter: _Waiter[Request, Response]) -> None:
        """Whoever has an answer, no time left or no caller any more. The last one to leave a call ends it."""
        self._waiting.pop(waiter, None)
        if waiter.answer.done() and not waiter.answer.cancelled():
            waiter.answer.exception()  # an error that came in the moment of leaving has been seen
        if waiter.batch is not None:
            waiter.batch.members.remove(waiter)
            # At its deadline a call ends by itself, and the endpoint that did not answer is blamed for it.
            if not waiter.batch.members and waiter.batch.task is not None and self._now() < waiter.batch.ends:
                waiter.batch.task.cancel()

    def _returned(self) -> None:
        self._out -= 1
        self._dispatch()

    def _dispatch(self) -> None:
        if self._waiting and self._out < self._width():
            self._give_up_the_hopeless()
        while self._waiting and self._out < self._width():
            taken = self._take()
            batch = _Batch(taken, ends=max(waiter.ends for waiter in taken))
            for waiter in taken:
                del self._waiting[waiter]
                waiter.batch = batch
            self._out += 1
            # A call has one parent: the first whose trace is recorded. The others of its batch are linked.
            host = next((waiter for waiter in batch.members if waiter.span.recorded), batch.members[0])
            task = batch.task = asyncio.create_task(self._run(batch), context=host.context)
            self._batches[task] = batch
            task.add_done_callback(self._ended)  # runs even if the task is cancelled before it starts

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._batches[task]
        self._returned()

    def _give_up_the_hopeless(self) -> None:
        """Whoever has less time left than a call takes would only be in the way of those who can still be served."""
        soonest = self._now() + (self._typical.value() or 0.0)
        hopeless = [waiter for waiter in self._waiting if waiter.ends < soonest]
        if self._out == 0 and len(hopeless) == len(self._waiting):
            return  # else nobody asks a stage that is well again, and it seems slow for ever
        for waiter in hopeless:
            del self._waiting[waiter]
            self.counts.hopeless += 1
            _fail([waiter], DeadlineExceeded(self._stage, waiter.timeout_s))

    def _take(self) -> list[_Waiter[Request, Response]]:
        """The longest waiting request, and those behind it that fit into its call."""
        first = next(iter(self._waiting))
        if first.key is None:
            return [first]
        taken = list[_Waiter[Request, Response]]()
        users, size = self._policy.batch_users, self._policy.batch_mb * 1024 * 1024
        for waiter in self._waiting:
            if waiter.key != first.key:
                continue
            users -= self._joining.users(waiter.request)
            size -= self._joining.size(waiter.request)
            if taken and (users < 0 or size < 0):
                break
            taken.append(waiter)
        return taken

    async def _run(self, batch: _Batch[Request, Response]) -> None:
        members = list(batch.members)
        try:
            responses = await self._ask(members, batch.ends - self._now())
        except _SOMEBODYS_FAULT as error:
            if len(members) == 1:
                return _fail(members, error)
            self._one_by_one(batch)
        except Exception as error:  # a bug is theirs to raise, or they would wait for ever
            return _fail(members, error)
        else:
            for member, response in zip(members, responses, strict=True):
                if not member.answer.done():
                    member.answer.set_result(response)

    async def _ask(self, members: Sequence[_Waiter[Request, Response]], timeout_s: float) -> list[Response]:
        if len(members) == 1:
            return [await self._timed(members[0].request, timeout_s)]
        requests = [member.request for member in members]
        joined = self._joining.join(requests)
        self.counts.batches += 1
        self.counts.batched += len(requests)
        others = [member.span for member in members if member.span.recorded and member.span is not tracing.current()]
        with tracing.shared_with(others):
            return self._joining.part(self._stage, await self._timed(joined, timeout_s), requests)

    def _one_by_one(self, batch: _Batch[Request, Response]) -> None:
        """Puts whoever still waits at the head of the queue, each to go alone."""
        again = list(batch.members)
        for waiter in again:
            waiter.key, waiter.batch = None, None
        batch.members = []
        self._waiting = dict.fromkeys(again) | self._waiting


def _fail(members: Sequence[_Waiter[Any, Any]], error: Exception) -> None:
    for member in members:
        if not member.answer.done():
            member.answer.set_exception(error)

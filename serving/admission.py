"""Who may run now, who waits and who is sent away: one door per gRPC service. Knows no messages and no gRPC.

Behind the door runs what the adaptive limit allows. Before it waits a short queue, higher priority first, then first come. Whoever
cannot be served in time is told so at once, while there is time to do something else, instead of after having waited: a call waits
only if, at the rate at which calls leave, it would be let in with enough of its time left. A queue that is full gives up the newest
of its lowest priority.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from bisect import bisect_right, insort_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from serving.concurrency import ConcurrencyLimit, Outcome, Running
from serving.deadline import Clock
from serving.errors import CallError, DeadlineExceeded, Expired, Overloaded
from serving.telemetry import Measure, Reading, Telemetry

_ABOUT_ALL = 0.95  # of its time: a call cancelled after that ran late; before, its caller lost interest
LOW_LATER_S = 0.2
LOW_SHARE, LOW_SHARE_OVERLOADED = (
    0.75,
    0.5,
)  # of the queue: what calls of low priority may fill, and under lasting overload
_HALF_LIFE_S = 1.0  # of the memory of who came and who was sent away
_HOPELESS = 0.5  # share of calls sent away from which on overload is no burst: a retry would only add to it
_SHORTEST_PUSHBACK_MS = 20
_QUIET_S = 10.0  # without a shed call, after which the next one is news again
DO_NOT_RETRY = -1

WAIT = Measure(
    "explore_admission_wait_seconds",
    'Time that calls waited for their turn; outcome "ok" was let in, "overloaded" and "expired" were sent away.',
    "histogram",
    ("grpc_service", "outcome"),
)
LIMIT = Measure("explore_admission_limit", "Calls that may run at a time now, as learnt.", "gauge", ("grpc_service",))
RUNNING = Measure("explore_admission_in_flight", "Calls that run now.", "gauge", ("grpc_service",))
QUEUED = Measure("explore_admission_queue_length", "Calls that wait for their turn now.", "gauge", ("grpc_service",))

_log = logging.getLogger(__name__)


class Priority(Enum):
    """LOW queues as if it had come LOW_LATER_S later: it is overtaken, but not for ever. It may not fill all of the queue, and
    less of it under lasting overload, so that it is rarely let in just to be sent away again."""

    HIGH = auto()
    LOW = auto()


class Calls:
    """What a service knows of its calls that admission does not; this one knows nothing. All must be quick and must not raise."""

    def passes_by(self, method: str) -> bool:
        """By the full method name: whether calls take no place behind the door, as they wait for more than they work."""
        return False

    def priority(self, method: str, data: bytes) -> Priority:
        """By the full method name and the request's bytes: which calls go first when not all can."""
        return Priority.HIGH

    def outcome(self, response: Any) -> Outcome:
        """What an answer says about load; one that came without the usual work says nothing by the time it took."""
        return Outcome.DONE


@dataclass
class Passage:
    """A call behind the door; whoever runs it may say that its end means something else than that it is done."""

    outcome: Outcome = Outcome.DONE


@dataclass(eq=False)
class _Waiting:
    """A call before the door. `let_in` gets what the limit gives, or why the call is sent away."""

    priority: Priority
    turn: float  # the lowest goes in first
    expires: float
    let_in: asyncio.Future[Running] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass(frozen=True)
class Queue:
    """How many calls may wait, and for how much of the time that they have left when they come."""

    length: int = 32
    wait_share: float = 1.0


class Door:
    """The way into one service. All of it runs on one event loop."""

    def __init__(
        self,
        name: str,
        limit: ConcurrencyLimit,
        queue: Queue,
        telemetry: Telemetry,
        now: Clock = time.monotonic,
    ) -> None:
        self._name, self._limit, self._bounds, self._now = name, limit, queue, now
        self._telemetry = telemetry
        self._queue: list[_Waiting] = []  # in the order in which they go in; short, so a list will do
        self._tally = _Tally(now)
        self._last_shed = -math.inf

    @property
    def waiting(self) -> int:
        """Calls before the door."""
        return len(self._queue)

    def readings(self) -> Iterator[Reading]:
        """The door as it is now."""
        found = ((LIMIT, self._limit.limit), (RUNNING, self._limit.running), (QUEUED, len(self._queue)))
        return (Reading(measure, value, (self._name,)) for measure, value in found)

    def pass_through(self, priority: Priority, left_s: float | None) -> _Crossing:
        """A context: its block runs once there is room for it. `left_s`: until the caller gives up; None if it never does.

        Raises Expired or Overloaded before anything was done. Cancelled while it waits, it leaves the queue.
        """
        return _Crossing(self, priority, math.inf if left_s is None else left_s)

    async def enter(self, priority: Priority, left_s: float) -> Running:
        """Returns once the call may run; `leave` must follow. Raises as `pass_through` does."""
        start, outcome = self._now(), "cancelled"
        try:
            call = await self._enter(priority, left_s)
            outcome = "ok"
        except CallError as error:
            outcome = type(error).__name__.lower()
            raise
        finally:
            self._telemetry.observe(WAIT, self._now() - start, self._name, outcome)
        return call

    def leave(self, call: Running, outcome: Outcome) -> None:
        """The call has ended: others may run."""
        self._limit.end(call, outcome)
        self._let_in()

    def late_from(self, left_s: float) -> float:
        """From when on a caller that gives up does so because its time is over."""
        return self._now() + left_s * _ABOUT_ALL

    def outcome_of(self, error: BaseException, late_from: float) -> Outcome:
        """What it says about load that a call failed, or was cancelled."""
        if isinstance(error, DeadlineExceeded | Expired):
            return Outcome.MISSED
        late = isinstance(error, asyncio.CancelledError) and self._now() >= late_from
        return Outcome.MISSED if late else Outcome.UNTYPICAL

    def expected_wait_s(self, ahead: int) -> float:
        """How long a call with so many before it would wait, at the rate at which calls leave now."""
        return (ahead + 1) * self._limit.pace_s

    async def _enter(self, priority: Priority, left_s: float) -> Running:
        if not left_s > 0:
            raise Expired("the caller's deadline was over before work began")
        self._tally.came()
        if not self._queue and self._limit.running < self._limit.limit:
            return self._limit.begin()
        turn = self._now() + (LOW_LATER_S if priority is Priority.LOW else 0.0)
        place = bisect_right(self._queue, turn, key=lambda other: other.turn)
        wait_s = self.expected_wait_s(place)
        if not self._worth_waiting(wait_s, left_s):
            raise self._shed(f"a wait of {wait_s * 1e3:.0f} ms would leave too little of {left_s * 1e3:.0f} ms", left_s)
        self._make_room(priority, left_s)
        waiting = _Waiting(priority, turn, self._now() + left_s)
        insort_right(self._queue, waiting, key=lambda other: other.turn)
        try:
            return await waiting.let_in
        except asyncio.CancelledError:
            self._left(waiting)
            raise

    def _worth_waiting(self, wait_s: float, left_s: float) -> bool:
        return wait_s <= self._bounds.wait_share * left_s and wait_s + self._limit.usual_s <= left_s

    def _make_room(self, priority: Priority, left_s: float) -> None:
        room = self._bounds.length
        if priority is Priority.LOW:
            room = int(room * (LOW_SHARE_OVERLOADED if self._tally.overloaded() else LOW_SHARE))
        if len(self._queue) < room:
            return
        lower = [other for other in self._queue if other.priority is Priority.LOW and priority is Priority.HIGH]
        if not lower:
            raise self._shed(f"{len(self._queue)} calls are waiting", left_s)
        self._queue.remove(lower[-1])
        if not lower[-1].let_in.done():
            lower[-1].let_in.set_exception(self._shed("calls of higher priority came", lower[-1].expires - self._now()))

    def _let_in(self) -> None:
        while self._queue and self._limit.running < self._limit.limit:
            first = self._queue.pop(0)
            if first.let_in.done():  # cancelled, and its task has not come to leave the queue yet
                continue
            left_s = first.expires - self._now()
            if left_s < self._limit.usual_s:
                first.let_in.set_exception(self._shed(f"only {left_s * 1e3:.0f} ms were left after waiting", left_s))
            else:
                first.let_in.set_result(self._limit.begin())

    def _left(self, waiting: _Waiting) -> None:
        if waiting in self._queue:
            self._queue.remove(waiting)
        elif not waiting.let_in.cancelled() and waiting.let_in.exception() is None:  # let in and cancelled in one turn
            self._limit.end(waiting.let_in.result(), Outcome.UNTYPICAL)
            self._let_in()

    def _shed(self, why: str, left_s: float) -> Overloaded:
        self._tally.was_shed()
        now = self._now()
        if now - self._last_shed > _QUIET_S:
            extra = {"service": self._name, "limit": self._limit.limit, "waiting": len(self._queue), "why": why}
            _log.warning("calls are being shed", extra=extra)
        self._last_shed = now
        return Overloaded(f"{self._name} is overloaded: {why}", self._pushback_ms(left_s))

    def _pushback_ms(self, left_s: float) -> int:
        """When the queue will have gone in, for a caller that then has time left; else, and under lasting overload, never.

        That may be later than it could have waited here: a place in the queue is given to calls that nearly surely make it.
        """
        wait_s = self.expected_wait_s(len(self._queue))
        if self._tally.overloaded() or wait_s + self._limit.usual_s > left_s:
            return DO_NOT_RETRY
        return max(round(wait_s * 1e3), _SHORTEST_PUSHBACK_MS)


class _Crossing:
    """One call's way through a door and back. A class: a generator that is a context costs several times as much."""

    __slots__ = ("_call", "_door", "_late_from", "_left_s", "_passage", "_priority")

    def __init__(self, door: Door, priority: Priority, left_s: float) -> None:
        self._door, self._priority, self._left_s, self._passage = door, priority, left_s, Passage()

    async def __aenter__(self) -> Passage:
        self._late_from = self._door.late_from(self._left_s)
        self._call = await self._door.enter(self._priority, self._left_s)
        return self._passage

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        outcome = self._passage.outcome if error is None else self._door.outcome_of(error, self._late_from)
        self._door.leave(self._call, outcome)


class _Tally:
    """How many came and how many were shed lately; what is older counts less."""

    def __init__(self, now: Clock) -> None:
        self._now, self._at = now, now()
        self._came = self._shed = 0.0

    def came(self) -> None:
        self._age()
        self._came += 1

    def was_shed(self) -> None:
        self._shed += 1

    def overloaded(self) -> bool:
        """Whether overload is lasting."""
        return self._shed > _HOPELESS * self._came

    def _age(self) -> None:
        now = self._now()
        kept = 0.5 ** ((now - self._at) / _HALF_LIFE_S)
        self._came, self._shed, self._at = self._came * kept, self._shed * kept, now

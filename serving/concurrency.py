"""How many calls a service should run at a time, learnt from how long they take. Pure: no queue, no gRPC, an injected clock.

The gradient rule of Netflix' concurrency-limits and Envoy's adaptive concurrency. While calls take about as long as they do when
only `floor` of them run, more may run; once they take `tolerance` times as long, what is added only queues up inside, and fewer
may:

    limit <- limit * min(1, tolerance * unloaded / now) + (sqrt(limit) if the limit was reached)

"Unloaded" is measured, never guessed: from calls that had no more than `floor - 1` others beside them from begin to end. Under
lasting load there are none, so from time to time the limit drops to the floor until enough of them were seen. Without that, the
loaded latency would become the measure and the limit would grow without end.
"""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from enum import Enum, auto

from serving.deadline import Clock

WINDOW_S = 0.1  # the limit moves at most once per window,
WINDOW_CALLS = 10  # and only on so many calls: the median of fewer is noise
STALE_S = 30.0  # a measure of the unloaded latency that is older is taken again
_STEEPEST = 0.5  # one slow window, a garbage collection say, does not close the door
_AFTER_MISSES = 0.8  # when calls run out of time although the latency of the others looks well
_MISSED_SHARE = 0.1  # of a window's calls
_SMOOTHING = 0.5


class Outcome(Enum):
    """What the end of a call says about load."""

    DONE = auto()  # its latency counts
    MISSED = auto()  # its caller's time ran out: fewer may run
    # Answered in time, but a part of it ran out of time: as MISSED, if others were done meanwhile. If none was, something hangs,
    # and fewer calls would not heal it.
    HURRIED = auto()
    UNTYPICAL = auto()  # refused, failed or given up: how long that took says nothing


@dataclass(frozen=True)
class Bounds:
    """Between what the limit moves, and how much longer than unloaded a call may take. `floor == ceiling` is a fixed limit."""

    floor: int = 2
    ceiling: int = 256
    tolerance: float = 1.5

    def __post_init__(self) -> None:
        if not 1 <= self.floor <= self.ceiling or not 1.0 <= self.tolerance < math.inf:
            raise ValueError(f"no bounds of a limit: {self}")


@dataclass(frozen=True)
class Running:
    """A call that has begun."""

    since: float
    alone: bool  # it began with less than `floor` others


class ConcurrencyLimit:
    """Counts the calls that run and moves the limit. The caller keeps to the limit; calls beyond it do no harm here."""

    def __init__(self, bounds: Bounds, now: Clock = time.monotonic) -> None:
        self._bounds, self._now = bounds, now
        self._limit = float(bounds.floor)
        self._probing = False
        self.running = self._peak = 0
        self.usual_s = 0.0  # median latency of the last full window; 0 before the first
        self._unloaded_s = 0.0
        self._unloaded_at = now()
        self._unloaded_samples: list[float] = []
        self._start_window()

    @property
    def limit(self) -> int:
        """How many calls may run now."""
        return self._bounds.floor if self._probing else int(self._limit)

    @property
    def pace_s(self) -> float:
        """Seconds between two calls that end, while as many run as may. 0 before anything is known."""
        if self._probing:  # the last full window had more calls beside each other
            return self._unloaded_s / self._bounds.floor
        return self.usual_s / self.limit

    def begin(self) -> Running:
        """A call begins; hand what is returned to `end`."""
        self.running += 1
        self._peak = max(self._peak, self.running)
        return Running(self._now(), self.running <= self._bounds.floor)

    def end(self, call: Running, outcome: Outcome) -> None:
        """The call has ended. May move the limit."""
        alone = call.alone and self.running <= self._bounds.floor
        self.running -= 1
        if outcome is Outcome.UNTYPICAL:
            return
        now = self._now()
        if outcome is Outcome.MISSED:
            self._missed += 1
        elif outcome is Outcome.HURRIED:
            self._hurried += 1
        else:
            self._samples.append(now - call.since)
            if alone:
                self._learn_unloaded(now - call.since, now)
        if self._seen() >= WINDOW_CALLS and now - self._window_start >= WINDOW_S:
            self._move(now)

    def _learn_unloaded(self, latency_s: float, now: float) -> None:
        self._unloaded_samples.append(latency_s)
        if len(self._unloaded_samples) >= WINDOW_CALLS:
            self._unloaded_s, self._unloaded_at = statistics.median(self._unloaded_samples), now
            self._unloaded_samples = []
            self._probing = False

    def _move(self, now: float) -> None:
        gradient = 1.0
        if self._samples:
            self.usual_s = statistics.median(self._samples)
            gradient = self._bounds.tolerance * self._unloaded_s / self.usual_s if self.usual_s > 0 else 1.0
        if not self._probing and self._peak * 2 >= self._limit and self._unloaded_s > 0:
            late = self._missed + (self._hurried if self._samples else 0) > _MISSED_SHARE * self._seen()
            gradient = min(max(gradient, _STEEPEST), _AFTER_MISSES if late else 1.0)
            wanted = self._limit * gradient
            if self._peak >= int(self._limit) and not late and self._samples:
                wanted += math.sqrt(self._limit)
            moved = self._limit + _SMOOTHING * (wanted - self._limit)
            self._limit = min(max(moved, float(self._bounds.floor)), float(self._bounds.ceiling))
        if self._limit > self._bounds.floor and now - self._unloaded_at > STALE_S:
            self._probing = True
        self._start_window()

    def _seen(self) -> int:
        return len(self._samples) + self._missed + self._hurried

    def _start_window(self) -> None:
        self._window_start = self._now()
        self._samples: list[float] = []
        self._missed = self._hurried = 0
        self._peak = self.running

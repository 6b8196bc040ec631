"""The funnel log: for a share of requests, all candidates as every stage sees them, written behind the page (docs/decisions/0012).

Nothing here can delay or fail a page: one request is logged at a time, those that come meanwhile are dropped, and what goes wrong
is counted. Shapes: N candidates of one request.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from features.schema import Stage
from gateway.fallback import POPULAR_SOURCE
from gateway.feed import FeedItem
from gateway.funnel_files import NO_POSITION, FunnelFiles, FunnelRecord
from gateway.funnel_pass import FunnelPass
from gateway.page import DIVERSITY
from gateway.stages import Call
from serving import tracing
from serving.columns import CandidateColumns, Int64
from serving.errors import CallError
from serving.telemetry import Measure, Reading
from serving.worker import Worker

_log = logging.getLogger(__name__)
_BUCKETS = 1_000_000

LOGGED = Measure(
    "explore_funnel_log_requests_total",
    "Sampled requests: logged; dropped, as another one was being logged; failed, as a stage gave no answer; lost by the disk after"
    " they were logged.",
    "counter",
    ("outcome",),
)
LOG_BYTES = Measure("explore_funnel_log_size_bytes", "Size of the funnel log on disk.", "gauge")


class FunnelLog:
    """Samples requests by their ids, lets the stages judge all candidates, and hands the result to the files."""

    def __init__(self, files: FunnelFiles, funnel_pass: FunnelPass, share: float, roll_s: float) -> None:
        self._files, self._pass, self._share, self._roll_s = files, funnel_pass, share, roll_s
        self._worker = Worker("funnel-log")
        self._task: asyncio.Task[None] | None = None
        self._rolling: asyncio.Task[None] | None = None
        self._closed = False
        self.logged = self.dropped = self.failed = 0
        self._failure = ""

    def wants(self, request_id: str) -> bool:
        """Whether this request is in the sample."""
        return zlib.crc32(request_id.encode()) % _BUCKETS < self._share * _BUCKETS

    def offer(self, call: Call, items: Sequence[FeedItem], clock_start_ms: int | None = None) -> None:
        """Logs the request of a page if it is in the sample and nothing else is being logged. Returns at once.

        A page of the fallback is not logged: its candidates are nobody's in particular, and teach nothing about the funnel.
        `clock_start_ms`: where the data clock began, None on the wall clock.
        """
        candidates = call.trace.sourced
        if candidates is None or not len(candidates) or POPULAR_SOURCE in candidates.sources:
            return
        if self._closed or not self.wants(call.request.request_id):
            return
        if self._task is not None:
            self.dropped += 1
            return
        # The task gets its first turn when the page's coroutine next waits: for gRPC, to send the page.
        self._task = asyncio.create_task(self._log_request(call, candidates, tuple(items), clock_start_ms))

    def note(self) -> str:
        """What has become of the sampled requests since the start, for people."""
        files = self._files
        parts = [f"{self.logged} requests", f"{files.bytes_on_disk / 1e6:.1f} MB on disk"]
        parts += [f"{self.dropped} dropped because another was being logged"] if self.dropped else []
        parts += [f"{self.failed} without an answer of every stage ({self._failure})"] if self.failed else []
        parts += [f"{files.lost} of them refused by the disk"] if files.lost else []
        return f"funnel log: {', '.join(parts)}"

    def readings(self) -> Iterator[Reading]:
        """As `note`, for programs."""
        yield Reading(LOGGED, self.logged, ("logged",))
        yield Reading(LOGGED, self.dropped, ("dropped",))
        yield Reading(LOGGED, self.failed, ("failed",))
        yield Reading(LOGGED, self._files.lost, ("lost",))
        yield Reading(LOG_BYTES, self._files.bytes_on_disk)

    async def forget(self, user_id: str) -> int:
        """Removes all rows of a user, also of a request that is being logged now; returns how many.

        Raises OSError if a file cannot be read or written, and Overloaded if too many ask for the same.
        """
        await self.idle()
        return await self._worker.run(self._files.forget, user_id)

    async def idle(self) -> None:
        """Returns when nothing is being logged. Files are written when they are full, when they are old, and by `close`."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Gives up what is being logged, writes what waits, and ends the worker. A second time it does nothing."""
        if self._closed:
            return
        self._closed = True
        running = [task for task in (self._task, self._rolling) if task is not None]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await self._roll()
        self._worker.close()

    async def _log_request(
        self, call: Call, candidates: CandidateColumns, items: Sequence[FeedItem], clock_start_ms: int | None
    ) -> None:
        try:
            with tracing.step("funnel_log"):
                judged = await self._pass.judge(call, candidates)
            if judged[Stage.RERANK].feature_NF is None:
                self._fail("rerank: returns no features")
                return
            record = FunnelRecord(
                request=call.request,
                bundle_version=call.bundle_version,
                clock_start_ms=clock_start_ms,
                candidates=candidates,
                judged=judged,
                position_N=_positions(candidates, items),
                dropped_at_N=_dropped_at(candidates, call, items),
            )
            await self._worker.run(self._files.add, record)
            self.logged += 1
            if self._files.waiting and self._rolling is None:
                self._rolling = asyncio.create_task(self._roll_later())
        except CallError as error:
            self._fail(str(error))
        except Exception as error:  # a bug in the log is none of the page
            _log.exception("request not logged", extra={"request_id": call.request.request_id})
            self._fail(type(error).__name__)
        finally:
            self._task = None

    def _fail(self, why: str) -> None:
        self.failed, self._failure = self.failed + 1, why

    async def _roll_later(self) -> None:
        try:
            await asyncio.sleep(self._roll_s)
            await self._roll()
        finally:
            self._rolling = None

    async def _roll(self) -> None:
        try:
            await self._worker.run(self._files.roll)
        except Exception:  # nor of the gateway's end
            _log.exception("the funnel log could not be written")


def _positions(candidates: CandidateColumns, items: Sequence[FeedItem]) -> Int64:
    position = {item.media_id: item.position for item in items}
    return np.array([position.get(media_id, NO_POSITION) for media_id in candidates.media_id_N.tolist()], np.int64)


def _dropped_at(candidates: CandidateColumns, call: Call, items: Sequence[FeedItem]) -> list[str | None]:
    """The stage that a candidate did not get past, None for those on the page."""
    media_N = candidates.media_id_N
    survivors = [*call.trace.kept.items(), (DIVERSITY, np.array([item.media_id for item in items], dtype=np.int64))]
    dropped_at_N: list[str | None] = [None] * len(media_N)
    left_N = np.ones(len(media_N), dtype=np.bool_)
    for stage, kept in survivors:
        gone_N = left_N & ~np.isin(media_N, kept)
        for row in np.flatnonzero(gone_N).tolist():
            dropped_at_N[row] = stage
        left_N &= ~gone_N
    return dropped_at_N

"""The gateway's own nouns: what is asked, how the candidates stand, what goes out. Knows no protobuf.

Shapes: N candidates of one user, T tasks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gateway.experiments.layers import NO_ARMS, Assignment
from gateway.paging import Cursor
from serving.columns import CandidateColumns, Ranked


@dataclass(frozen=True)
class FeedRequest:
    """One validated GetFeed call."""

    request_id: str
    user_id: str
    page_size: int
    surface: str
    cursor: Cursor
    time_ms: int
    debug: bool
    preview: bool = False  # only looked at: nothing is remembered of it


class Reason(IntEnum):
    """Why something was degraded; the numbers are those of `DegradationReason` in feed.proto."""

    DEADLINE = 1
    UNAVAILABLE = 2
    ERROR = 3
    UNDER_DELIVERED = 4
    BUNDLE_NOT_HELD = 5
    PARTIAL = 6


@dataclass(frozen=True)
class Degradation:
    """One thing that did not work, and what was done instead."""

    stage: str
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Standing:
    """How the candidates of one user stand after a stage: best first, NaN score = unscored so far."""

    candidates: CandidateColumns
    tasks: tuple[str, ...]
    probability_NT: NDArray[np.float32]  # N x 0 until a stage predicts tasks

    @classmethod
    def unranked(cls, candidates: CandidateColumns) -> Standing:
        """Fresh from sourcing: no task is predicted yet."""
        return cls(candidates, (), np.empty((len(candidates), 0), dtype=np.float32))

    def after(self, ranked: Ranked) -> Standing:
        """The standing after a stage. A stage that predicts no tasks scores, but says nothing about value."""
        return Standing(
            self.candidates.take(ranked.row_M, ranked.offsets, ranked.score_M), ranked.tasks, ranked.probability_MT
        )

    def first(self, count: int) -> Standing:
        """The best `count`, in order."""
        kept = min(count, len(self.candidates))
        columns = self.candidates
        cut = columns.take(np.arange(kept), np.array([0, kept], dtype=np.int64), columns.score_N[:kept])
        return replace(self, candidates=cut, probability_NT=self.probability_NT[:kept])


@dataclass(frozen=True)
class FeedItem:
    """One item of the page; `value` is None if no stage predicted tasks for it."""

    media_id: int
    author_id: int
    position: int
    value: float | None
    diversity_factor: float
    task_probability: dict[str, float]
    source: str
    source_path: str  # "" if unknown
    seed_account_id: int
    propensity: float = 1.0  # of standing here, given the items above (`gateway.random_slots`)
    module: str = ""  # "" is the ordinary feed


@dataclass(frozen=True)
class Page:
    """The answer to one FeedRequest."""

    items: tuple[FeedItem, ...]
    bundle_version: str
    cold_start: bool
    next_page_token: str
    arms: Assignment = NO_ARMS

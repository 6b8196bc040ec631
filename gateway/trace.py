"""The record of one request: what was degraded, how long each stage took and, for debug, how it placed every candidate."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gateway.diversity import Selection, discounted
from gateway.feed import Degradation, Reason, Standing
from protos.explore.v1.retrieval_pb2 import SourceReport
from serving import tracing
from serving.columns import CandidateColumns

OK = "ok"  # outcome of a step that did not degrade the page


@dataclass
class StageRun:
    """One step of a request as the gateway saw it, the network included."""

    stage: str
    candidates_in: int = 0
    candidates_out: int = 0
    elapsed_us: int = 0
    outcome: str = OK  # or the reason of the first degradation that it brought


@dataclass(frozen=True)
class Placement:
    """What one stage made of one candidate. `score` is None if the stage gave none."""

    stage: str
    rank: int
    score: float | None
    task_probability: dict[str, float]


@dataclass(frozen=True)
class Discounts:
    """What the diversity rule worked with, one entry per candidate that reached it."""

    score_N: NDArray[np.float64]
    author_factor_N: NDArray[np.float64]
    seed_factor_N: NDArray[np.float64]

    def discounted_N(self) -> NDArray[np.float64]:
        """What each counts after both factors."""
        return discounted(self.score_N, self.author_factor_N * self.seed_factor_N)


@dataclass(frozen=True)
class DiversityOutcome:
    """What the diversity rule made of one candidate; `place` on the page is None for one that was not picked."""

    author_factor: float
    seed_factor: float
    discounted: float
    place: int | None


@dataclass
class Trace:
    """Filled by the stages while a request runs. Placements are kept with `debug` only: they cost time."""

    debug: bool
    degradations: list[Degradation] = field(default_factory=list)
    runs: list[StageRun] = field(default_factory=list)  # of the steps that narrow candidates
    steps: list[StageRun] = field(default_factory=list)  # all of them
    scores: dict[str, NDArray[np.float32]] = field(
        default_factory=dict
    )  # by stage, of all that it answered with; NaN for popular media in place of retrieval's
    unscored: dict[str, int] = field(
        default_factory=dict
    )  # by ranking stage: candidates that it is known to have left out
    sourced: CandidateColumns | None = None
    placements: dict[int, list[Placement]] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)
    diversity: dict[int, DiversityOutcome] = field(default_factory=dict)
    cutoff: dict[str, float] = field(default_factory=dict)  # by stage: the score of the last that it let through
    weights: Mapping[str, float] = field(default_factory=dict)  # of the value model
    sources: Sequence[SourceReport] = ()  # retrieval's account of what each source proposed
    kept: dict[str, NDArray[np.int64]] = field(
        default_factory=dict
    )  # media that each ranking stage let through, always

    unserved: set[str] = field(default_factory=set)  # settings of an arm that could not be had on the way

    def degrade(self, stage: str, reason: Reason, detail: str) -> None:
        """Records something that did not work; every one of them goes out with the response."""
        self.degradations.append(Degradation(stage, reason, detail))

    def cut(self, stage: str, standing: Standing, keep: int) -> None:
        """Records why candidates end at a stage that was lost: nobody placed them, and only so many go on."""
        if self.debug:
            for media_id in standing.candidates.media_id_N[keep:].tolist():
                self.dropped[media_id] = f"{stage}: lost, kept the first {keep} of the stage before"

    @contextmanager
    def step(self, run: StageRun) -> Iterator[StageRun]:
        """Times one step, which is a span of the request's trace."""
        degraded, start_ns = len(self.degradations), time.perf_counter_ns()
        self.steps.append(run)
        with tracing.step(run.stage) as span:
            try:
                yield run
            finally:
                run.elapsed_us = (time.perf_counter_ns() - start_ns) // 1000
                if len(self.degradations) > degraded:
                    run.outcome = self.degradations[degraded].reason.name.lower()
                    span.fail(run.outcome)

    @contextmanager
    def timed(self, stage: str, candidates_in: int) -> Iterator[StageRun]:
        """Times a step that narrows candidates; the block sets `candidates_out`."""
        with self.step(StageRun(stage, candidates_in)) as run:
            try:
                yield run
            finally:
                self.runs.append(run)
                span = tracing.current()
                span.set("explore.candidates_in", candidates_in)
                span.set("explore.candidates_out", run.candidates_out)

    def source(self, candidates: CandidateColumns) -> None:
        """Records what sourcing brought, in its order."""
        self.sourced = candidates
        self.scores["retrieval"] = candidates.score_N
        if self.debug:
            for rank, media_id in enumerate(candidates.media_id_N.tolist()):
                self.placements[media_id] = [Placement("retrieval", rank, _score(candidates, rank), {})]

    def place(self, stage: str, before: Standing, after: Standing, keep: int) -> None:
        """Records how a stage ordered the candidates and why those that end here do. With debug, `after` is the whole order.

        A stage answers without what it cannot score; how many those are shows, without debug, in what is missing from `keep` only.
        """
        self.scores[stage] = after.candidates.score_N
        wanted = len(before.candidates) if self.debug else min(keep, len(before.candidates))
        self.unscored[stage] = max(wanted - len(after.candidates), 0)
        if not self.debug:
            return
        media, scored = after.candidates.media_id_N.tolist(), len(after.candidates)
        if scored:
            self.cutoff[stage] = float(after.candidates.score_N[min(keep, scored) - 1])
        for rank, media_id in enumerate(media):
            probability = dict(zip(after.tasks, after.probability_NT[rank].tolist(), strict=True))
            placement = Placement(stage, rank, _score(after.candidates, rank), probability)
            self.placements.setdefault(media_id, []).append(placement)
            if rank >= keep:
                self.dropped[media_id] = f"{stage}: rank {rank + 1} of {scored}, kept {keep}"
        for media_id in set(before.candidates.media_id_N.tolist()) - set(media):
            self.dropped[media_id] = f"{stage}: could not be scored"

    def pick(self, stage: str, media_id_N: NDArray[np.int64], picked: Selection, discounts: Discounts) -> None:
        """Records the page: the factors of everything that could have been on it, and why the others are not."""
        if not self.debug:
            return
        place = {row: place for place, row in enumerate(picked.row_K.tolist())}
        reason = "others were worth more" + (", or drawn by chance" if (picked.propensity_K < 1).any() else "")
        discounted_N = discounts.discounted_N()
        for row, media_id in enumerate(media_id_N.tolist()):
            author, seed = float(discounts.author_factor_N[row]), float(discounts.seed_factor_N[row])
            self.diversity[media_id] = DiversityOutcome(author, seed, float(discounted_N[row]), place.get(row))
            if row not in place:
                self.dropped[media_id] = f"{stage}: {reason}"
        if place:
            self.cutoff[stage] = float(discounted_N[picked.row_K[-1]])


def _score(candidates: CandidateColumns, row: int) -> float | None:
    score = float(candidates.score_N[row])
    return None if math.isnan(score) else score

"""All candidates of one request scored by every ranking stage, behind the page: what the funnel log is made of.

The stages of a page see 500, 150 and 50 candidates. This pass asks each of them for all, in calls as large as those of a page, one
after the other: no page waits longer behind the log than behind another page. Knows stages; knows neither files nor the log.

Shapes: N candidates of one user, M of them scored in one answer, T tasks, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from features.schema import Stage
from gateway.config import Funnel
from gateway.stages import Call
from serving.channels import RankingClient
from serving.columns import CandidateColumns, Float32, Int64, Ranked
from serving.deadline import Budget
from serving.errors import StageContractViolation
from serving.wire import RankAsk


@dataclass(frozen=True)
class Judged:
    """What one stage makes of all N candidates; NaN where it gave a candidate no score."""

    score_N: Float32
    tasks: tuple[str, ...]
    probability_NT: Float32
    feature_NF: Float32 | None  # None unless asked for, and for a stage that reads none
    feature_schema: str


class FunnelPass:
    """Asks prerank, rank and rerank; the last one for its features too, which are all there are."""

    def __init__(
        self, funnel: Funnel, clients: Mapping[Stage, RankingClient], deadline_s: float, page_deadline_s: float
    ) -> None:
        self._clients, self._deadline_s = clients, deadline_s
        # Calls share the way to a stage with those of pages, so a lost one must not stand in it for longer than theirs.
        self._call_s = {stage: funnel.plan_of(stage).share * page_deadline_s for stage in Stage}
        self._history = {stage: funnel.plan_of(stage).history for stage in Stage}
        self._part = {
            Stage.PRERANK: funnel.retrieval.keep,
            Stage.RANK: funnel.prerank.keep,
            Stage.RERANK: funnel.rank.keep,
        }

    async def judge(self, call: Call, candidates: CandidateColumns) -> dict[Stage, Judged]:
        """Every stage on every candidate, within a deadline of its own; one call has the time of a page's.

        Raises CallError if a stage is lost.
        """
        budget, judged = Budget(self._deadline_s), dict[Stage, Judged]()
        for stage in Stage:
            answers: list[tuple[int, Ranked]] = []
            for start, part in _parts(candidates, self._part[stage]):
                answers.append((start, await self._ask(stage, call, part, budget)))
            judged[stage] = _joined(stage, answers, len(candidates))
        return judged

    async def _ask(self, stage: Stage, call: Call, part: CandidateColumns, budget: Budget) -> Ranked:
        ask = RankAsk(
            users=call.user.messages(self._history[stage]),
            candidates=part,
            weights=[call.weights],
            keep=[len(part)],
            request_id=call.request.request_id,
            bundle_version=call.bundle_version,
            with_features=stage is Stage.RERANK,
        )
        return await self._clients[stage].rank(ask, min(budget.remaining(), self._call_s[stage]))


def _parts(candidates: CandidateColumns, size: int) -> Iterator[tuple[int, CandidateColumns]]:
    for start in range(0, len(candidates), size):
        row_M: Int64 = np.arange(start, min(start + size, len(candidates)), dtype=np.int64)
        yield start, candidates.take(row_M, np.array([0, len(row_M)], dtype=np.int64), candidates.score_N[row_M])


def _joined(stage: Stage, answers: list[tuple[int, Ranked]], count: int) -> Judged:
    row_M = np.concatenate([start + answer.row_M for start, answer in answers])
    scored = [answer for _, answer in answers if len(answer.row_M)]
    first = scored[0] if scored else answers[0][1]
    if any(
        (a.tasks, a.feature_schema, _width(a)) != (first.tasks, first.feature_schema, _width(first)) for a in scored
    ):
        raise StageContractViolation(stage, "tasks or features", "differ between two answers of one bundle")

    def placed(values: list[Float32]) -> Float32:
        value_N = np.full((count, *values[0].shape[1:]), np.nan, dtype=np.float32)
        value_N[row_M] = np.concatenate(values)
        return value_N

    features = [answer.features_MF for answer in scored if answer.features_MF is not None]
    return Judged(
        score_N=placed([answer.score_M for _, answer in answers]),
        tasks=first.tasks,
        probability_NT=placed([a.probability_MT for a in scored] or [first.probability_MT]),
        feature_NF=placed(features) if features else None,
        feature_schema=first.feature_schema,
    )


def _width(answer: Ranked) -> int:
    return 0 if answer.features_MF is None else answer.features_MF.shape[1]

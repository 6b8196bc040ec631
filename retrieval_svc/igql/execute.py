"""Runs a plan for a batch of users: each step once, over the rows of all of them, and only as far as somebody reads.

Knows no operator by name. Results never depend on who else is in the batch, nor on how far lists were read at first.
Shapes: B users.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from retrieval_svc.flow import ALL, Bool, Flow, joined, nothing
from retrieval_svc.igql import combine
from retrieval_svc.igql.operator import Operator, Run
from retrieval_svc.igql.plan import Fallback, Mix, Plan, Step, Union
from retrieval_svc.igql.stages import Stage
from serving.ragged import Int64

_SPARE = 16  # rows asked for beyond what is wanted, where a step may drop some
_GROWTH = 4  # a list that was read too short is read so many times further


@dataclass
class StepTrace:
    """What one step did, for `explain`. Times exclude the inputs' own."""

    rows_in: int = 0
    rows_out: int = 0
    calls: int = 0
    seconds: float = 0.0
    dropped: dict[str, int] = field(default_factory=dict)


class Execution:
    """One run of one plan. `lazy=False` reads every list to its end: slower, the same answer."""

    def __init__(self, plan: Plan, run: Run, lazy: bool = True) -> None:
        self._plan, self.run, self._lazy = plan, run, lazy
        self._kept: dict[int, tuple[Flow, Bool]] = {}  # by step: what is read, and for whom
        self._wanted: dict[int, Int64] = {}  # by step: how far it was asked for
        self._spent: dict[int, StepTrace] = {}
        self._inner_s = 0.0

    def answer(self) -> Flow:
        """The first `count_B` media of every user; what lay beyond is counted as over_quota."""
        want_B = self.run.audience.count_B
        return combine.cut(self.rows(self._plan.root, want_B), want_B, self.run)

    def read(self, step: Step) -> Flow:
        """What an answer has read of a step, and no more of it; nobody's rows if it was not asked."""
        users = self.run.audience.users
        if step.number not in self._kept:
            return nothing(users)
        return combine.cut(self._kept[step.number][0], self._wanted[step.number], self.run)

    def rows(self, step: Step, want_B: Int64) -> Flow:
        """The first rows of a step, at least `want_B` per user or all there are. Users who want 0 get nothing."""
        wanting_B = want_B > 0
        self._wanted[step.number] = np.maximum(self._wanted.get(step.number, 0), want_B)
        if not self._lazy or step.stage is not Stage.MEDIA:
            want_B = np.where(wanting_B, ALL, 0)
        if step.number not in self._kept:
            flow = self._timed(step, want_B).only(wanting_B) if wanting_B.any() else nothing(len(want_B))
            self._kept[step.number] = (flow, wanting_B)
            return flow
        flow, asked_B = self._kept[step.number]
        missing_B = wanting_B & (~asked_B | (flow.more_B & (flow.count_B < want_B)))
        if missing_B.any():
            found = self._timed(step, np.where(missing_B, want_B, 0)).only(missing_B)
            flow = joined([flow.only(~missing_B), found]) if asked_B.any() else found
            self._kept[step.number] = (flow, asked_B | missing_B)
        return flow.only(wanting_B)

    def _timed(self, step: Step, want_B: Int64) -> Flow:
        outer_s, self._inner_s = self._inner_s, 0.0
        start = time.perf_counter()
        found = self._evaluate(step, want_B)
        elapsed = time.perf_counter() - start
        trace = self._spent.setdefault(step.number, StepTrace())
        trace.seconds += elapsed - self._inner_s
        trace.calls += 1
        self._inner_s = outer_s + elapsed
        return found

    def _evaluate(self, step: Step, want_B: Int64) -> Flow:
        if isinstance(step.operator, Mix):
            return combine.mix(self.rows, self.run, step, want_B, self._lazy)
        if isinstance(step.operator, Union):
            return combine.union(self.rows, self.run, step, want_B)
        if isinstance(step.operator, Fallback):
            return combine.fallback(self.rows, step, want_B)
        found = self._apply(step, step.operator, want_B)
        if step.starts_media:
            source_P = np.full(len(found), step.source, dtype=np.uint8)
            key_P = -found.score_P if self.run.keyed and found.key_P is None else found.key_P
            found = replace(found, source_P=source_P, dropped={}, key_P=key_P)
        return found

    def _apply(self, step: Step, operator: Operator, want_B: Int64) -> Flow:
        if not step.inputs:
            return operator.run(self.run, nothing(len(want_B)), want_B)
        if not operator.thins:
            return operator.run(self.run, self.rows(step.inputs[0], operator.asks(want_B)), want_B)
        ask_B = np.where(want_B > 0, want_B + want_B // 2 + _SPARE, 0)
        while True:
            read = self.rows(step.inputs[0], ask_B)
            found = operator.run(self.run, read, want_B)
            short_B = read.more_B & (found.count_B < want_B)
            if not short_B.any():
                return found
            ask_B = np.where(short_B, np.minimum(ask_B * _GROWTH, ALL), ask_B)

    @property
    def traces(self) -> dict[int, StepTrace]:
        """What each step has done so far, by its number. Counted when somebody asks, which no request does."""
        return {step.number: self._trace(step) for step in self._plan.steps() if step.number in self._spent}

    def _trace(self, step: Step) -> StepTrace:
        flow, _ = self._kept[step.number]
        inputs = [self._kept[each.number][0] for each in step.inputs if each.number in self._kept]
        before: dict[str, int] = {}
        for each in inputs:
            for reason, count_BS in each.dropped.items():
                before[reason] = before.get(reason, 0) + int(count_BS.sum())
        rows_in, dropped = sum(len(each) for each in inputs), _difference(flow.dropped, before)
        return replace(self._spent[step.number], rows_in=rows_in, rows_out=len(flow), dropped=dropped)


def _difference(dropped: Mapping[str, Int64], before: Mapping[str, int]) -> dict[str, int]:
    counts = {reason: int(count_BS.sum()) - before.get(reason, 0) for reason, count_BS in dropped.items()}
    return {reason: count for reason, count in counts.items() if count > 0}

"""The rules of the service as a step of every plan: what may not be recommended to a user does not exist for that user's query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval_svc.eligibility import ELIGIBLE, judge
from retrieval_svc.flow import Bool, Flow, add_counts
from retrieval_svc.igql.operator import Operator, Run
from retrieval_svc.igql.stages import Stage
from serving.ragged import Int64


@dataclass(frozen=True)
class Eligible(Operator):
    """Stands behind every operator that finds media; no query names it, and none can leave it out."""

    name, takes, gives, thins = "eligible", (Stage.MEDIA,), None, True

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        reason_P = judge(run.rules, run.audience, flow.user_P, flow.row_P)
        gone_P: Bool = reason_P != ELIGIBLE
        gone = np.flatnonzero(gone_P)
        if len(gone) == 0:
            return flow
        sources, rules = run.sources, len(run.rules)
        cell_X = (reason_P[gone] * flow.users + flow.user_P[gone]) * sources + flow.source_P[gone]
        count_RBS = np.bincount(cell_X, minlength=rules * flow.users * sources).reshape(rules, flow.users, sources)
        reasons = np.nonzero(count_RBS.any(axis=(1, 2)))[0].tolist()
        dropped = {run.rules[number].reason: count_RBS[number] for number in reasons}
        return flow.pick(np.flatnonzero(~gone_P)).with_dropped(add_counts(flow.dropped, dropped))

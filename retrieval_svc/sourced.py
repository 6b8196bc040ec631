"""What sourcing answers: candidates, and an account of every proposal. Decides nothing.

Shapes: B users, S sources, R reasons, N candidates of all users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.item_table import ItemTable
from retrieval_svc.flow import NO_ROW, Flow
from retrieval_svc.igql.plan import Plan, Source
from serving.columns import CandidateColumns
from serving.ragged import Int64, rank_within

NO_SEED = 0  # seed account id of a candidate that no account led to


@dataclass(frozen=True)
class SourcingReports:
    """What became of every media item that a source found for B users: found = kept + the sum of dropped."""

    sources: tuple[Source, ...]
    reasons: tuple[str, ...]
    kept_BS: Int64
    dropped_BSR: Int64

    @property
    def proposed_BS(self) -> Int64:
        """Media that each source found."""
        return self.kept_BS + self.dropped_BSR.sum(axis=2)


@dataclass(frozen=True)
class Sourced:
    """Candidates of B users, best first within a user, and how they were found."""

    candidates: CandidateColumns
    reports: SourcingReports


def sourced(flow: Flow, plan: Plan, items: ItemTable) -> Sourced:
    """The answer as it leaves the service. The score is the place in the list: 1 at its top, 0 at its end."""
    seed_N, count_B = flow.seed_row_P, flow.count_B
    known_N = seed_N != NO_ROW
    candidates = CandidateColumns(
        offsets=flow.offsets,
        media_id_N=items.media_id_M[flow.row_P],
        author_id_N=items.account_id_U[items.author_row_M[flow.row_P]],
        seed_account_id_N=np.where(known_N, items.account_id_U[np.where(known_N, seed_N, 0)], NO_SEED)
        if len(items.account_id_U)
        else np.full(len(flow), NO_SEED),
        source_index_N=flow.source_P,
        score_N=(1 - (rank_within(flow.user_P) + 0.5) / np.maximum(count_B[flow.user_P], 1)).astype(np.float32),
        sources=tuple(source.name for source in plan.sources),
        source_paths=tuple(source.path for source in plan.sources),
    )
    return Sourced(candidates, _reports(flow, plan))


def _reports(flow: Flow, plan: Plan) -> SourcingReports:
    sources, reasons = len(plan.sources), tuple(sorted(flow.dropped))
    kept = np.bincount(flow.user_P * sources + flow.source_P, minlength=flow.users * sources)
    dropped_BSR = np.zeros((flow.users, sources, len(reasons)), dtype=np.int64)
    for number, reason in enumerate(reasons):
        dropped_BSR[:, :, number] = flow.dropped[reason]
    return SourcingReports(plan.sources, reasons, kept.reshape(flow.users, sources), dropped_BSR)

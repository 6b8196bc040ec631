"""What the cascade loses on its way: whole slates sent through prerank and rank, judged by the deep ranker. Knows no model.

Shapes: N candidates of all slates, B slates, C places in the longest slate.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.metrics import Interval
from training.slates import Slates

Float32 = NDArray[np.float32]
Values = NDArray[np.floating]


@dataclass(frozen=True)
class FunnelSizes:
    """How many candidates leave each stage."""

    prerank: int = 150
    rank: int = 50
    page: int = 25


@dataclass(frozen=True)
class FunnelReport:
    """What the funnel keeps of what the deep ranker would have chosen from whole slates; means over users."""

    recall_page: Interval  # of the deep ranker's best page, among what prerank lets through
    recall_rank: Interval  # the same for as many as rank lets through
    recall_page_after_rank: Interval  # of the deep ranker's best page, among what prerank and then rank let through
    ndcg: Interval  # of prerank's order, gains 3 / 2 / 1 for the deep ranker's page / rank / prerank sets
    funnel_value: Interval  # value of the page that comes out, divided by the best possible one
    n_slates: int
    n_valued: int  # slates whose best page has a positive value; only there a ratio means anything


@dataclass(frozen=True)
class FunnelValues:
    """The measures of `FunnelReport` of every slate, NaN where undefined. Shape [B]."""

    recall_page_B: Values
    recall_rank_B: Values
    recall_page_after_rank_B: Values
    ndcg_B: Values
    funnel_value_B: Values

    def report(self) -> FunnelReport:
        """Means with intervals over users."""
        values = self.by_measure()
        return FunnelReport(
            **{name: _interval(value_B) for name, value_B in values.items()},
            n_slates=len(self.ndcg_B),
            n_valued=int((~np.isnan(self.funnel_value_B)).sum()),
        )

    def minus(self, other: FunnelValues) -> dict[str, Interval]:
        """Paired differences over the same users, by the names of `FunnelReport`. Slates that have only one value are left out."""
        theirs = other.by_measure()
        return {name: _interval(value_B - theirs[name]) for name, value_B in self.by_measure().items()}

    def by_measure(self) -> dict[str, Values]:
        """The values by the names of `FunnelReport`."""
        return {field.name.removesuffix("_B"): getattr(self, field.name) for field in fields(self)}


def measure_funnel(
    slates: Slates, prerank_N: Float32, rank_N: Float32, deep_N: Float32, sizes: FunnelSizes | None = None
) -> FunnelReport:
    """Means over users of what `funnel_values` gives."""
    return funnel_values(slates, prerank_N, rank_N, deep_N, sizes).report()


def funnel_values(
    slates: Slates, prerank_N: Float32, rank_N: Float32, deep_N: Float32, sizes: FunnelSizes | None = None
) -> FunnelValues:
    """Sends slates through prerank, rank and rerank by their scores. `deep_N` is both the last stage and the measure."""
    sizes = sizes or FunnelSizes()
    prerank_BC, rank_BC, deep_BC = (slates.padded(score_N, -np.inf) for score_N in (prerank_N, rank_N, deep_N))
    page_BC, kept_BC, wide_BC = (_first(deep_BC, size) for size in (sizes.page, sizes.rank, sizes.prerank))
    gain_BC = page_BC.astype(np.float32) + kept_BC + wide_BC
    after_prerank_BC = _first(prerank_BC, sizes.prerank)
    ranked_BC = np.where(after_prerank_BC, rank_BC, -np.inf)
    after_rank_BC = _first(ranked_BC, sizes.rank)
    shown_BC = _first(np.where(after_rank_BC, deep_BC, -np.inf), sizes.page)
    best_B, out_B = (np.where(chosen, deep_BC, 0).sum(axis=1, dtype=np.float64) for chosen in (page_BC, shown_BC))
    return FunnelValues(
        recall_page_B=metrics.recall_at_k(page_BC, prerank_BC, sizes.prerank),
        recall_rank_B=metrics.recall_at_k(kept_BC, prerank_BC, sizes.prerank),
        recall_page_after_rank_B=metrics.recall_at_k(page_BC, ranked_BC, sizes.rank),
        ndcg_B=metrics.ndcg_at_k(gain_BC, prerank_BC, sizes.prerank),
        funnel_value_B=np.divide(out_B, best_B, out=np.full(len(slates), np.nan), where=best_B > 0),
    )


def _interval(value_B: Values) -> Interval:
    return metrics.bootstrap_mean(value_B, np.arange(len(value_B)))


def _first(score_BC: Float32, size: int) -> NDArray[np.bool_]:
    """The first `size` of every row by score; places with minus infinity are empty and never chosen."""
    chosen_BC = np.zeros(score_BC.shape, dtype=np.bool_)
    order_BS = np.argsort(-score_BC, axis=1, kind="stable")[:, :size]
    np.put_along_axis(chosen_BC, order_BS, True, axis=1)
    return chosen_BC & (score_BC > -np.inf)

"""What the cascade loses on its way: whole slates sent through prerank and rank, judged by the deep ranker. Knows no model.

Shapes: N candidates of all slates, B slates, C places in the longest slate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training import metrics
from training.metrics import Interval
from training.slates import Slates

Float32 = NDArray[np.float32]


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
    ndcg: Interval  # of prerank's order, gains 3 / 2 / 1 for the deep ranker's page / rank / prerank sets
    funnel_value: Interval  # value of the page that comes out, divided by the best possible one
    n_slates: int
    n_valued: int  # slates whose best page has a positive value; only there a ratio means anything


def measure_funnel(
    slates: Slates, prerank_N: Float32, rank_N: Float32, deep_N: Float32, sizes: FunnelSizes | None = None
) -> FunnelReport:
    """Sends slates through prerank, rank and rerank by their scores. `deep_N` is both the last stage and the measure."""
    sizes = sizes or FunnelSizes()
    prerank_BC, rank_BC, deep_BC = (slates.padded(score_N, -np.inf) for score_N in (prerank_N, rank_N, deep_N))
    page_BC, kept_BC, wide_BC = (_first(deep_BC, size) for size in (sizes.page, sizes.rank, sizes.prerank))
    gain_BC = page_BC.astype(np.float32) + kept_BC + wide_BC
    after_prerank_BC = _first(prerank_BC, sizes.prerank)
    after_rank_BC = _first(np.where(after_prerank_BC, rank_BC, -np.inf), sizes.rank)
    shown_BC = _first(np.where(after_rank_BC, deep_BC, -np.inf), sizes.page)
    best_B, out_B = (np.where(chosen, deep_BC, 0).sum(axis=1, dtype=np.float64) for chosen in (page_BC, shown_BC))
    ratio_B = np.divide(out_B, best_B, out=np.full(len(slates), np.nan), where=best_B > 0)
    slate_B = np.arange(len(slates))

    def interval(value_B: NDArray[np.floating]) -> Interval:
        return metrics.bootstrap_mean(value_B, slate_B)

    return FunnelReport(
        recall_page=interval(metrics.recall_at_k(page_BC, prerank_BC, sizes.prerank)),
        recall_rank=interval(metrics.recall_at_k(kept_BC, prerank_BC, sizes.prerank)),
        ndcg=interval(metrics.ndcg_at_k(gain_BC, prerank_BC, sizes.prerank)),
        funnel_value=interval(ratio_B),
        n_slates=len(slates),
        n_valued=int((best_B > 0).sum()),
    )


def _first(score_BC: Float32, size: int) -> NDArray[np.bool_]:
    """The first `size` of every row by score; places with minus infinity are empty and never chosen."""
    chosen_BC = np.zeros(score_BC.shape, dtype=np.bool_)
    order_BS = np.argsort(-score_BC, axis=1, kind="stable")[:, :size]
    np.put_along_axis(chosen_BC, order_BS, True, axis=1)
    return chosen_BC & (score_BC > -np.inf)

"""Ranking models that a query may name: cheap scores from columns of the bundle, for ordering thousands of rows.

Shapes: P rows of all users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from features.actions import POSITIVE_ACTIONS
from retrieval_svc.audience import Audience
from retrieval_svc.flow import Flow

Float64 = NDArray[np.float64]
Ranker = Callable[[Audience, Flow], Float64]

_UNLIKE = -1.0  # the lowest cosine: what nothing is known about comes last


def _path_and_quality(audience: Audience, flow: Flow) -> Float64:
    """The score of the path times (1 + the share of media that are no better) / 2: an account's best post beats its worst."""
    return flow.score_P * (1 + audience.catalogue.orders.quality_M[flow.row_P]) / 2


def _quality(audience: Audience, flow: Flow) -> Float64:
    """Value per impression and freshness, as the share of media that are no better."""
    return audience.catalogue.orders.quality_M[flow.row_P]


def _trending(audience: Audience, flow: Flow) -> Float64:
    """Value per recent impression."""
    return audience.catalogue.trends(None).value_M[flow.row_P]


def _newest(audience: Audience, flow: Flow) -> Float64:
    """Age at the time of the request, turned around."""
    created_P = audience.catalogue.items.created_at_ms_M[flow.row_P]
    return (created_P - audience.contexts.request_time_ms_B[flow.user_P]).astype(np.float64)


def _two_tower(audience: Audience, flow: Flow) -> Float64:
    """Cosine of the user's taste and the media vector; the lowest where one of them is unknown."""
    vector_PD = audience.catalogue.items.media_vector_MD[flow.row_P]
    taste_PD = audience.taste_BD[flow.user_P]
    cosine_P = np.einsum("pd,pd->p", vector_PD, taste_PD).astype(np.float64)
    return np.where(vector_PD.any(axis=1) & taste_PD.any(axis=1), cosine_P, _UNLIKE)


def _path(audience: Audience, flow: Flow) -> Float64:
    """The score of the path."""
    return flow.score_P


def _popularity(audience: Audience, flow: Flow) -> Float64:
    """How often anybody acted on the account in a way that speaks for it."""
    counts_SA = audience.catalogue.items.account_counts_UA[flow.row_P]
    return counts_SA[:, sorted(POSITIVE_ACTIONS)].sum(axis=1).astype(np.float64)


MEDIA_RANKERS: Mapping[str, Ranker] = {
    "default": _path_and_quality,
    "newest": _newest,
    "quality": _quality,
    "trending": _trending,
    "two_tower": _two_tower,
}
ACCOUNT_RANKERS: Mapping[str, Ranker] = {"default": _path, "popularity": _popularity}

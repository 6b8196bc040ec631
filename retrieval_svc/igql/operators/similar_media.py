"""Media that are like the user's taste, or like media that the user acted on.

Shapes: B users, S media acted on of all users, k neighbours of one, X rows of all users.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from retrieval_svc.catalogue import Catalogue
from retrieval_svc.flow import NO_ROW, Flow, start
from retrieval_svc.igql.arguments import COUNT, MEDIA_EMBEDDING, arg
from retrieval_svc.igql.operator import Operator, Run, operator
from retrieval_svc.igql.stages import Stage
from serving.ragged import Int64, rank_within

Float64 = NDArray[np.float64]


@operator("media_nn", (Stage.USER,), Stage.MEDIA)
class MediaNn(Operator):
    """Media closest to the user's taste by the two-tower model. The user tower runs now, on what the user did last."""

    model: str = arg(MEDIA_EMBEDDING, "which two-tower model", "default")
    max_num_to_retrieve: int = arg(COUNT, "how many", 200)

    def most(self) -> int | None:
        return self.max_num_to_retrieve

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        taste_BD, catalogue = run.audience.taste_BD, run.audience.catalogue
        asking = np.flatnonzero((want_B > 0) & taste_BD.any(axis=1))
        near_Qk, cosine_Qk = catalogue.media.search(taste_BD[asking], _at_most(self.max_num_to_retrieve, catalogue))
        found_Qk = near_Qk >= 0
        user_X = np.repeat(asking, found_Qk.sum(axis=1))
        row_X, score_X = near_Qk[found_Qk], cosine_Qk[found_Qk].astype(np.float64)
        return start(user_X, row_X, np.full(len(row_X), NO_ROW), score_X, run.audience.users)


@operator("media_nn", (Stage.ACTIONS,), Stage.MEDIA)
class MediaNnOfMedia(Operator):
    """Media closest to each of those media by the two-tower model, each once, best first."""

    model: str = arg(MEDIA_EMBEDDING, "which two-tower model", "default")
    max_num_to_retrieve: int = arg(COUNT, "how many per media item", 20)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        catalogue = run.audience.catalogue
        most = _at_most(self.max_num_to_retrieve, catalogue)
        # A media item is its own nearest, so one more is asked for.
        near_Sk, cosine_Sk = catalogue.media.search(catalogue.all_items.media_vector_MD[flow.row_P], most + 1)
        from_X = np.repeat(np.arange(len(flow)), near_Sk.shape[1])
        near_X = near_Sk.ravel()
        score_X = cosine_Sk.ravel() * _strength(flow)[from_X]
        acted_id_P = catalogue.all_items.media_id_M[flow.row_P]
        found = np.flatnonzero((near_X >= 0) & (score_X > 0))  # a shard may hold no media at all
        found = found[catalogue.items.media_id_M[near_X[found]] != acted_id_P[from_X[found]]]
        found = found[rank_within(from_X[found]) < most]  # itself was not among equals
        return _merged(flow, from_X[found], near_X[found], score_X[found])


@operator("co_occurring", (Stage.ACTIONS,), Stage.MEDIA)
class CoOccurring(Operator):
    """Media that people liked who also liked those media, each once. What several of them lead to scores their sum."""

    max_num_to_retrieve: int = arg(COUNT, "how many per media item", 20)

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        lists = run.audience.catalogue.tables.co_occurring
        place_X, take_S = lists.of(flow.row_P, self.max_num_to_retrieve)
        from_X = np.repeat(np.arange(len(flow)), take_S)
        own_X = lists.score_X[place_X].astype(np.float64)  # type: ignore[index]  # co-occurrence always has scores
        return _merged(flow, from_X, lists.row_X[place_X].astype(np.int64), own_X * _strength(flow)[from_X])


def _at_most(number: int, catalogue: Catalogue) -> int:
    """No more than there are media: a search makes room for as many as it is asked for, for every vector."""
    return min(number, len(catalogue.items.media_id_M))


def _strength(flow: Flow) -> Float64:
    """The root of each row's share of its user's strongest one, in (0, 1], as for accounts."""
    strongest_B = np.zeros(flow.users)
    np.maximum.at(strongest_B, flow.user_P, flow.score_P)
    return np.sqrt(flow.score_P / strongest_B[flow.user_P])


def _merged(flow: Flow, from_X: Int64, row_X: Int64, score_X: Float64) -> Flow:
    """Each user's media once, scored by the sum, with the seed that contributed most; best first."""
    if len(row_X) == 0:
        return replace(flow.pick(from_X), dropped={})
    user_X = flow.user_P[from_X]
    key_X = user_X * (int(row_X.max()) + 1) + row_X
    order_X = np.lexsort((-score_X, key_X))  # the strongest contribution first; stable, so the newest seed among equals
    first_X = np.concatenate([[True], np.diff(key_X[order_X]) != 0])
    start_G = np.flatnonzero(first_X)
    total_G, best_G = np.add.reduceat(score_X[order_X], start_G), order_X[start_G]
    order_G = np.lexsort((row_X[best_G], -total_G, user_X[best_G]))
    best_G = best_G[order_G]
    return replace(flow.pick(from_X[best_G]), row_P=row_X[best_G], score_P=total_G[order_G], dropped={})

"""New media that nobody knows much about yet: exploration. Every request draws its own sample, so that all of them get a chance.

Shapes: B users, W media of the window.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.context import UserContexts
from features.history import History
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import NO_SEED, Proposals
from retrieval_svc.ragged import Int64, offsets_of

_UInt64 = NDArray[np.uint64]


@dataclass(frozen=True)
class FreshSource:
    """A sample without replacement from the newest `window` media published before the request.

    The sample depends on user id, request time and media ids only, so it can be computed again. A user who wants more than a
    quarter of the window gets a window four times as long as the wish.
    """

    name: str = "fresh"
    window: int = 2000

    def propose(self, contexts: UserContexts, history: History, catalogue: Catalogue, want_B: Int64) -> Proposals:
        orders, media_id_M = catalogue.orders, catalogue.items.media_id_M
        # newest_created_ms_M falls, so its mirror image rises and can be searched.
        old_B = np.searchsorted(orders.newest_created_ms_M[::-1], contexts.request_time_ms_B, side="right")
        start_B = len(orders.newest_row_M) - old_B
        row_B: list[Int64] = []
        for user, want in enumerate(want_B.tolist()):
            start, width = int(start_B[user]), max(self.window, 4 * want)
            row_W = orders.newest_row_M[start : start + width] if want else orders.newest_row_M[:0]
            seed = _seed(contexts.user_ids[user], int(contexts.request_time_ms_B[user]))
            row_B.append(row_W[_lowest(_mixed(media_id_M[row_W], seed), want)])
        media_row_P = np.concatenate([np.empty(0, dtype=np.int64), *row_B])
        user_P = np.repeat(np.arange(len(row_B)), [len(row_W) for row_W in row_B])
        score_P = catalogue.items.created_at_ms_M[media_row_P].astype(np.float64)
        return Proposals(offsets_of(user_P, len(want_B)), media_row_P, np.full(len(media_row_P), NO_SEED), score_P)


def _seed(user_id: str, request_time_ms: int) -> np.uint64:
    digest = hashlib.blake2b(f"{request_time_ms} {user_id}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _mixed(media_id_W: Int64, seed: np.uint64) -> _UInt64:
    """Finaliser of SplitMix64 (Steele, Lea and Flood 2014): a different pseudo-random order of the media for every seed."""
    x_W = media_id_W.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ seed
    x_W = (x_W ^ (x_W >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_W = (x_W ^ (x_W >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_W ^ (x_W >> np.uint64(31))


def _lowest(key_W: _UInt64, want: int) -> Int64:
    """Places of the `want` lowest keys, lowest first."""
    if want >= len(key_W):
        return np.argsort(key_W, kind="stable")
    place = np.argpartition(key_W, want)[:want]
    return place[np.argsort(key_W[place], kind="stable")]

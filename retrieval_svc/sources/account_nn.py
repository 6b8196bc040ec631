"""Accounts similar to those that the user likes, and what they posted. The seed is the liked account that led there.

Shapes: S seed accounts of all users, k neighbours of a seed, N neighbours of all users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.context import UserContexts
from features.history import History
from retrieval_svc.account_index import NEIGHBOURS, NO_NEIGHBOUR
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import Accounts, Proposals
from retrieval_svc.posted_media import posted_media
from retrieval_svc.ragged import Int64, contains
from retrieval_svc.seeds import recent_accounts


@dataclass(frozen=True)
class AccountNnSource:
    """`liked(max_seeds).account_nn(neighbours).posted_media(max_media_per_account)`; the cosine times the seed's weight ranks."""

    name: str = "account_nn"
    max_seeds: int = 30
    neighbours: int = NEIGHBOURS
    max_media_per_account: int = 10

    def propose(self, contexts: UserContexts, history: History, catalogue: Catalogue, want_B: Int64) -> Proposals:
        seeds = recent_accounts(history, len(catalogue.items.account_id_U), self.max_seeds, want_B > 0)
        near = similar_accounts(seeds, catalogue, self.neighbours)
        return posted_media(near, catalogue, self.max_media_per_account, want_B)


def similar_accounts(seeds: Accounts, catalogue: Catalogue, neighbours: int) -> Accounts:
    """Accounts near the seeds, best first within a user, each once with the seed that it is nearest to.

    No seed of the same user is among them: those accounts are known to the user, and `engaged_accounts` proposes them.
    """
    near_Sk, cosine_Sk = catalogue.accounts.neighbours(seeds.account_row_S, neighbours)
    accounts = len(catalogue.items.account_id_U)
    near_N, score_N = near_Sk.ravel(), (cosine_Sk * seeds.score_S[:, None]).ravel()
    user_N, seed_N = np.repeat(seeds.user_S, neighbours), np.repeat(seeds.account_row_S, neighbours)
    key_N = user_N * accounts + near_N
    known = np.sort(seeds.user_S * accounts + seeds.account_row_S)
    kept_N = np.flatnonzero((near_N != NO_NEIGHBOUR) & (score_N > 0) & ~contains(known, key_N))
    kept_N = kept_N[np.lexsort((seed_N[kept_N], -score_N[kept_N], user_N[kept_N]))]
    first_N = np.unique(key_N[kept_N], return_index=True)[1]
    kept_N = kept_N[np.sort(first_N)]
    return Accounts(user_N[kept_N], near_N[kept_N], seed_N[kept_N], score_N[kept_N])

"""From accounts to what they posted, best first.

Shapes: B users, S accounts of all users, P proposals of all users.
"""

from __future__ import annotations

import numpy as np

from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import Accounts, Proposals, best_first
from retrieval_svc.ragged import Int64, ranges, sum_before

_SPARE = 2  # media looked at per media wanted: a good account's worst post can lose against a weaker account's best


def posted_media(accounts: Accounts, catalogue: Catalogue, max_per_account: int, want_B: Int64) -> Proposals:
    """The `want_B` best media of each user's accounts, at most `max_per_account` of one account.

    A media item scores its account's score x (1 + its quality rank) / 2, and keeps the account's seed. `accounts` names an account
    at most once per user, best first within a user.
    """
    orders = catalogue.orders
    posted_S = orders.posted_offsets[accounts.account_row_S + 1] - orders.posted_offsets[accounts.account_row_S]
    take_S = np.minimum(posted_S, max_per_account)
    needed_S = sum_before(take_S, accounts.user_S) < _SPARE * want_B[accounts.user_S]
    accounts, take_S = accounts.keep(needed_S), take_S[needed_S]
    media_row_P = orders.posted_row_M[ranges(orders.posted_offsets[accounts.account_row_S], take_S)]
    seed_id_P = np.repeat(catalogue.items.account_id_U[accounts.seed_row_S], take_S)
    score_P = np.repeat(accounts.score_S, take_S) * (1 + orders.quality_M[media_row_P]) / 2
    return best_first(np.repeat(accounts.user_S, take_S), media_row_P, seed_id_P, score_P, want_B)

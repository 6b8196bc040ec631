"""What flows between the operators of sourcing: accounts, then media, as columns grouped by user, each with its seed account.

Shapes: B users, S accounts of all users, P proposals of all users.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval_svc.ragged import Int64, offsets_of, owners, rank_within

Float64 = NDArray[np.float64]

NO_SEED = 0  # seed account id of a candidate that no account led to


@dataclass(frozen=True)
class Accounts:
    """Accounts that a user's history leads to, grouped by user, best first. Rows are account rows of the item table."""

    user_S: Int64
    account_row_S: Int64
    seed_row_S: Int64  # the account of the history that led here
    score_S: Float64

    def keep(self, kept_S: NDArray[np.bool_]) -> Accounts:
        """Only the rows of the mask."""
        return Accounts(self.user_S[kept_S], self.account_row_S[kept_S], self.seed_row_S[kept_S], self.score_S[kept_S])


@dataclass(frozen=True)
class Proposals:
    """What one source proposes: media rows of the item table, best first within each of B users."""

    offsets: Int64  # B + 1
    media_row_P: Int64
    seed_account_id_P: Int64  # NO_SEED where the source starts from no account
    score_P: Float64  # orders the proposals of one source; sources are not comparable

    @property
    def user_P(self) -> Int64:
        return owners(self.offsets)


def best_first(
    user_P: Int64, media_row_P: Int64, seed_account_id_P: Int64, score_P: Float64, want_B: Int64
) -> Proposals:
    """The `want_B` best rows of every user as proposals. Equal scores: the lower media row first."""
    order_P = np.lexsort((media_row_P, -score_P, user_P))
    order_P = order_P[rank_within(user_P[order_P]) < want_B[user_P[order_P]]]
    return Proposals(
        offsets_of(user_P[order_P], len(want_B)), media_row_P[order_P], seed_account_id_P[order_P], score_P[order_P]
    )

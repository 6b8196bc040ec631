"""Other media of the accounts that the user engaged with or followed. The seed is that account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.context import UserContexts
from features.history import History
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.columns import Accounts, Proposals
from retrieval_svc.posted_media import posted_media
from retrieval_svc.ragged import Int64
from retrieval_svc.seeds import recent_accounts


@dataclass(frozen=True)
class EngagedAccountsSource:
    """`liked(max_seeds).posted_media(max_media_per_account)`; the account's weight in the history ranks."""

    name: str = "engaged_accounts"
    max_seeds: int = 50
    max_media_per_account: int = 20

    def propose(self, contexts: UserContexts, history: History, catalogue: Catalogue, want_B: Int64) -> Proposals:
        seeds = recent_accounts(history, len(catalogue.items.account_id_U), self.max_seeds, want_B > 0)
        order_S = np.lexsort((seeds.account_row_S, -seeds.score_S, seeds.user_S))
        strongest_first = Accounts(
            seeds.user_S[order_S], seeds.account_row_S[order_S], seeds.seed_row_S[order_S], seeds.score_S[order_S]
        )
        return posted_media(strongest_first, catalogue, self.max_media_per_account, want_B)

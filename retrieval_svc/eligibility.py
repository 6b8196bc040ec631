"""Which media may be recommended to whom. One class per rule; nothing is dropped without a reason.

Shapes: B users, P proposals of all users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from features.context import UserContexts
from features.history import History, join_history
from features.integrity import recommendable
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.ragged import Int64, contains
from retrieval_svc.seeds import hidden_accounts

Bool = NDArray[np.bool_]
ELIGIBLE = -1  # among the numbers of rules

MissingScore = Literal["auto", "allow", "deny"]


@dataclass(frozen=True)
class Audience:
    """The users of one batch as the rules and sources see them."""

    contexts: UserContexts
    history: History
    catalogue: Catalogue
    seen_key: Int64  # sorted `user * M + media row` of what the users have been shown

    @classmethod
    def of(cls, contexts: UserContexts, seen_B: Sequence[Int64], catalogue: Catalogue) -> Audience:
        """Joins the users with the catalogue. Seen media that the catalogue does not hold cannot be proposed and are left out."""
        media = len(catalogue.items.media_id_M)
        row_S = catalogue.items.rows(np.concatenate([np.empty(0, dtype=np.int64), *seen_B]))
        user_S = np.repeat(np.arange(len(seen_B)), [len(seen) for seen in seen_B])
        seen_key = np.sort((user_S * media + row_S)[row_S >= 0])
        return cls(contexts, join_history(contexts, catalogue.items), catalogue, seen_key)


class Rule(Protocol):
    """One reason why a user must not get a media item."""

    @property
    def reason(self) -> str: ...

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        """Whether each proposal is refused. Shape [P]."""
        ...


@dataclass(frozen=True)
class NotYetPublished:
    """Created after the request: happens when training replays the past."""

    reason: str = "not_yet_published"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        created_P = audience.catalogue.items.created_at_ms_M[media_row_P]
        return created_P > audience.contexts.request_time_ms_B[user_P]


@dataclass(frozen=True)
class NotRecommendable:
    """The integrity model objects: its score is above `threshold`, or there is none.

    `missing`: what a media item without a score gets. "auto" allows it where the catalogue has no scores at all (no model is in
    use) and denies it where other media have one (the model has not looked at this one yet).
    """

    threshold: float
    missing: MissingScore = "auto"
    reason: str = "not_recommendable"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        score_P = audience.catalogue.items.non_recommendable_M[media_row_P]
        allow_missing = self.missing == "allow"
        if self.missing == "auto":
            allow_missing = not audience.catalogue.has_integrity_scores
        return ~recommendable(score_P, self.threshold, allow_missing)


@dataclass(frozen=True)
class HiddenAuthor:
    """The user hid or reported something of this author."""

    reason: str = "hidden_author"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        items = audience.catalogue.items
        accounts = len(items.account_id_U)
        return contains(
            hidden_accounts(audience.history, accounts), user_P * accounts + items.author_row_M[media_row_P]
        )


@dataclass(frozen=True)
class Seen:
    """The user has been shown it."""

    reason: str = "seen"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        return contains(audience.seen_key, user_P * len(audience.catalogue.items.media_id_M) + media_row_P)


def judge(rules: Sequence[Rule], audience: Audience, user_P: Int64, media_row_P: Int64) -> Int64:
    """The fate of every proposal [P]: ELIGIBLE, or the number of the first rule that refuses it.

    Raises ValueError naming a rule that does not answer for every proposal.
    """
    reason_P = np.full(len(media_row_P), ELIGIBLE, dtype=np.int64)
    for number, rule in enumerate(rules):
        rejected_P = rule.rejects(audience, user_P, media_row_P)
        if rejected_P.shape != reason_P.shape:
            raise ValueError(f"rule {rule.reason!r} answered {rejected_P.shape} for {reason_P.shape} proposals")
        reason_P[rejected_P & (reason_P == ELIGIBLE)] = number
    return reason_P

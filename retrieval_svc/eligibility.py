"""Which media may be recommended to whom. One class per rule; nothing is dropped without a reason.

Every rule says what it does with a media item that it lacks data on: integrity rules fail closed, rules about the user fail open.
Shapes: P proposals of all users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from features.integrity import MissingScore, allows_missing, recommendable
from retrieval_svc.audience import Audience
from serving.ragged import Int64

Bool = NDArray[np.bool_]
ELIGIBLE = -1  # among the numbers of rules


class Rule(Protocol):
    """One reason why a user must not get a media item."""

    @property
    def reason(self) -> str: ...

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        """Whether each proposal is refused. `user_P` rises. Shape [P]."""
        ...


@dataclass(frozen=True)
class NotYetPublished:
    """Created after the request: happens when training replays the past."""

    reason: str = "not_yet_published"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        created_P = audience.catalogue.items.created_at_ms_M[media_row_P]
        return created_P > audience.contexts.request_time_ms_B[user_P]


@dataclass(frozen=True)
class TooOld:
    """Created longer than `max_age_ms` before the request. Off where that is None."""

    max_age_ms: int | None
    reason: str = "too_old"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        if self.max_age_ms is None:
            return np.zeros(len(user_P), dtype=np.bool_)
        oldest_B = audience.contexts.request_time_ms_B - self.max_age_ms
        return audience.catalogue.items.created_at_ms_M[media_row_P] < oldest_B[user_P]


@dataclass(frozen=True)
class NotRecommendable:
    """The integrity model objects: its score is above `threshold`, or there is none and `missing` does not allow that."""

    threshold: float
    missing: MissingScore = "auto"
    reason: str = "not_recommendable"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        score_P = audience.catalogue.items.non_recommendable_M[media_row_P]
        allow_missing = allows_missing(self.missing, audience.catalogue.has_integrity_scores)
        return ~recommendable(score_P, self.threshold, allow_missing)


@dataclass(frozen=True)
class PolicyFlagged:
    """Carries a policy flag that is not among the `allowed` ones: a flag that nobody decided on keeps media away."""

    allowed: frozenset[str] = frozenset()
    reason: str = "policy_flag"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        items = audience.catalogue.items
        refused = sum(1 << bit for bit, name in enumerate(items.policy_flags) if name not in self.allowed)
        return (items.policy_flags_M[media_row_P] & np.uint32(refused)) != 0


@dataclass(frozen=True)
class OwnPost:
    """The user posted it."""

    reason: str = "own_post"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        # An author row is never below 0, so users without an account match nothing.
        return audience.own_account_B[user_P] == audience.authors(media_row_P)


@dataclass(frozen=True)
class BlockedAuthor:
    """The user blocked its author."""

    reason: str = "blocked_author"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        return audience.is_author_in(audience.blocked, user_P, media_row_P)


@dataclass(frozen=True)
class MutedAuthor:
    """The user muted its author."""

    reason: str = "muted_author"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        return audience.is_author_in(audience.muted, user_P, media_row_P)


@dataclass(frozen=True)
class HiddenAuthor:
    """The user lately hid or reported something of this author."""

    reason: str = "hidden_author"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        return audience.is_author_in(audience.hidden, user_P, media_row_P)


@dataclass(frozen=True)
class Seen:
    """The user has been shown it."""

    reason: str = "seen"

    def rejects(self, audience: Audience, user_P: Int64, media_row_P: Int64) -> Bool:
        return audience.has_seen(user_P, media_row_P)


def judge(rules: Sequence[Rule], audience: Audience, user_P: Int64, media_row_P: Int64) -> Int64:
    """The fate of every proposal [P]: ELIGIBLE, or the number of the first rule that refuses it. `user_P` rises.

    Raises ValueError naming a rule that does not answer for every proposal.
    """
    reason_P = np.full(len(media_row_P), ELIGIBLE, dtype=np.int64)
    for number, rule in reversed(tuple(enumerate(rules))):  # the first rule has the last word
        rejected_P = rule.rejects(audience, user_P, media_row_P)
        if rejected_P.shape != reason_P.shape:
            raise ValueError(f"rule {rule.reason!r} answered {rejected_P.shape} for {reason_P.shape} proposals")
        reason_P[rejected_P] = number
    return reason_P

"""Feature assembly as one writes it first: one function per feature, which gathers what it needs for the candidates of one user.

The yardstick of benchmarks/cascade.py. It reads the same item table and gives the same numbers as `features.dense`, and shares no
code with it, so that whatever the product does to its own assembly is measured against the same thing.

Shapes: N candidates of one user, L newest actions, A action codes, F features, D media vector, E account vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.actions import N_ACTIONS, Action
from features.context import HISTORY_LENGTH, UserContexts
from features.counters import DAY_MS, HOUR_MS
from features.history import ACTION_WEIGHT, SMALLEST_TASTE, TASTE_HALF_LIFE_MS
from features.item_table import ItemTable
from features.view import INTENT_SLOTS, PRIOR_IMPRESSIONS

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

_USER_PRIOR, _RECENT_PRIOR = 20.0, 5.0
_CLICK, _LONG, _LIKE = (int(action) for action in (Action.CLICK, Action.LONG_VIEW, Action.LIKE))
_SHOWN = int(Action.IMPRESSION)
_DEEP = [int(action) for action in (Action.SAVE, Action.SHARE, Action.COMMENT, Action.FOLLOW)]
_NEGATIVE = [int(action) for action in (Action.HIDE, Action.REPORT)]
_WEIGHT_A = np.array([ACTION_WEIGHT.get(Action(code), 0.0) if code else 0.0 for code in range(N_ACTIONS)])


@dataclass(frozen=True)
class User:
    """One user at the moment of a request, with the newest actions looked up in the item table."""

    contexts: UserContexts
    now_ms: int
    action_L: Int64
    age_ms_L: Int64
    row_L: Int64
    author_L: Int64
    topic_L: Int64
    weight_L: Float32
    media_taste_D: Float32
    account_taste_E: Float32

    @classmethod
    def of(cls, contexts: UserContexts, items: ItemTable) -> User:
        now_ms = int(contexts.request_time_ms_B[0])
        row_L = items.rows(contexts.history_media_id_H[-HISTORY_LENGTH:])
        action_L = contexts.history_action_H[-HISTORY_LENGTH:].astype(np.int64)
        age_ms_L = now_ms - contexts.history_time_ms_H[-HISTORY_LENGTH:]
        author_L = np.where(row_L >= 0, items.author_row_M[row_L], -1)
        weight_L = _WEIGHT_A[action_L] * np.exp2(-age_ms_L / TASTE_HALF_LIFE_MS) * (row_L >= 0)
        return cls(
            contexts=contexts,
            now_ms=now_ms,
            action_L=action_L,
            age_ms_L=age_ms_L,
            row_L=row_L,
            author_L=author_L,
            topic_L=np.where(row_L >= 0, items.topic_M[row_L], -1),
            weight_L=weight_L.astype(np.float32),
            media_taste_D=_taste(items.media_vector_MD[row_L], weight_L),
            account_taste_E=_taste(items.account_vector_UE[author_L], weight_L),
        )

    @property
    def counts_A(self) -> Float32:
        return self.contexts.action_counts_BA[0].astype(np.float32)


def _taste(vectors: Float32, weight_L: NDArray[np.float64]) -> Float32:
    """The direction of the weighted mean, zero if there is none."""
    largest = np.abs(weight_L).max(initial=0)
    total = (vectors * (weight_L / (largest or 1.0))[:, None]).sum(axis=0)
    length = np.linalg.norm(total)
    return (total / length if length > SMALLEST_TASTE else np.zeros_like(total)).astype(np.float32)


Column = Float32 | float
Compute = Callable[[User, Int64], Column]  # a user and the rows of the candidates to one value each, or to one for all


class Features:
    """Every feature by name."""

    def __init__(self, items: ItemTable) -> None:
        self._items = items
        self._compute: dict[str, Compute] = {**self._of_users(), **self._of_items(), **self._of_both()}

    def matrix(self, names: list[str], user: User, row_N: Int64) -> Float32:
        """The columns `names` of the candidates. Shape [N, F]."""
        matrix_NF = np.empty((len(row_N), len(names)), dtype=np.float32)
        for column, name in enumerate(names):
            matrix_NF[:, column] = self._compute[name](user, row_N)
        return matrix_NF

    def _of_users(self) -> dict[str, Compute]:
        def known(value: int) -> float:
            return value if value >= 0 else np.nan

        def age_days(user: User, row_N: Int64) -> float:
            registered_ms = int(user.contexts.registered_at_ms_B[0])
            return max(user.now_ms - registered_ms, 0) / DAY_MS if registered_ms >= 0 else np.nan

        def hours_since_action(user: User, row_N: Int64) -> float:
            return user.age_ms_L[-1] / HOUR_MS if len(user.age_ms_L) else np.nan

        surfaces = self._items.surfaces
        return {
            "user_account_age_days": age_days,
            "user_n_following": lambda user, _: known(int(user.contexts.n_following_B[0])),
            "user_n_followers": lambda user, _: known(int(user.contexts.n_followers_B[0])),
            "user_impressions": lambda user, _: user.counts_A[_SHOWN],
            "user_click_rate": lambda user, _: self._user_rate(user, [_CLICK]),
            "user_long_view_rate": lambda user, _: self._user_rate(user, [_LONG]),
            "user_like_rate": lambda user, _: self._user_rate(user, [_LIKE]),
            "user_deep_rate": lambda user, _: self._user_rate(user, _DEEP),
            "user_negative_rate": lambda user, _: self._user_rate(user, _NEGATIVE),
            "user_impressions_1h": lambda user, _: user.contexts.recent_counts_BWA[0, 0, _SHOWN],
            "user_click_rate_1h": lambda user, _: self._recent_rate(user, 0, _CLICK),
            "user_long_view_rate_1h": lambda user, _: self._recent_rate(user, 0, _LONG),
            "user_click_rate_24h": lambda user, _: self._recent_rate(user, 1, _CLICK),
            "user_long_view_rate_24h": lambda user, _: self._recent_rate(user, 1, _LONG),
            "user_like_rate_24h": lambda user, _: self._recent_rate(user, 1, _LIKE),
            "user_actions_1h": lambda user, _: (user.age_ms_L <= HOUR_MS).sum(),
            "user_actions_24h": lambda user, _: (user.age_ms_L <= DAY_MS).sum(),
            "user_hours_since_action": hours_since_action,
            "position": lambda user, _: 0.0,
            **{
                f"surface_{number}": lambda user, _, number=number: (  # type: ignore[misc]  # a default binds the number
                    float(surfaces.index(user.contexts.surfaces[0]) == number)
                    if user.contexts.surfaces[0] in surfaces
                    else np.nan
                )
                for number in range(8)
            },
            "day_sine": lambda user, _: np.sin(2 * np.pi * (user.now_ms % DAY_MS) / DAY_MS),
            "day_cosine": lambda user, _: np.cos(2 * np.pi * (user.now_ms % DAY_MS) / DAY_MS),
        }

    def _user_rate(self, user: User, actions: list[int]) -> float:
        prior = _USER_PRIOR * self._items.base_rate_A[actions].sum()
        return (user.counts_A[actions].sum() + prior) / (user.counts_A[_SHOWN] + _USER_PRIOR)

    def _recent_rate(self, user: User, window: int, action: int) -> float:
        recent_A = user.contexts.recent_counts_BWA[0, window]
        prior = _RECENT_PRIOR * self._user_rate(user, [action])
        return (recent_A[action] + prior) / (recent_A[_SHOWN] + _RECENT_PRIOR)

    def _of_items(self) -> dict[str, Compute]:
        items = self._items

        def author_N(row_N: Int64) -> Int64:
            return items.author_row_M[row_N].astype(np.int64)

        def rate(counts_KA: Float32, place_N: Int64, actions: list[int]) -> Float32:
            counts_NA = counts_KA[place_N]
            prior = PRIOR_IMPRESSIONS * items.base_rate_A[actions].sum()
            return (counts_NA[:, actions].sum(axis=1) + prior) / (counts_NA[:, _SHOWN] + PRIOR_IMPRESSIONS)

        media, lately = items.counts_MA, items.recent_counts_MA
        accounts, accounts_lately = items.account_counts_UA, items.account_recent_counts_UA
        return {
            "item_age_hours": lambda user, row_N: np.maximum(user.now_ms - items.created_at_ms_M[row_N], 0) / HOUR_MS,
            "item_duration_s": lambda _, row_N: items.duration_ms_M[row_N] / 1000,
            "item_non_recommendable": lambda _, row_N: items.non_recommendable_M[row_N],
            "item_impressions": lambda _, row_N: media[row_N][:, _SHOWN],
            "item_click_rate": lambda _, row_N: rate(media, row_N, [_CLICK]),
            "item_long_view_rate": lambda _, row_N: rate(media, row_N, [_LONG]),
            "item_like_rate": lambda _, row_N: rate(media, row_N, [_LIKE]),
            "item_deep_rate": lambda _, row_N: rate(media, row_N, _DEEP),
            "item_negative_rate": lambda _, row_N: rate(media, row_N, _NEGATIVE),
            "item_recent_impressions": lambda _, row_N: lately[row_N][:, _SHOWN],
            "item_recent_click_rate": lambda _, row_N: rate(lately, row_N, [_CLICK]),
            "author_impressions": lambda _, row_N: accounts[author_N(row_N)][:, _SHOWN],
            "author_n_media": lambda _, row_N: items.account_n_media_U[author_N(row_N)],
            "author_click_rate": lambda _, row_N: rate(accounts, author_N(row_N), [_CLICK]),
            "author_recent_click_rate": lambda _, row_N: rate(accounts_lately, author_N(row_N), [_CLICK]),
            "author_like_rate": lambda _, row_N: rate(accounts, author_N(row_N), [_LIKE]),
            "author_negative_rate": lambda _, row_N: rate(accounts, author_N(row_N), _NEGATIVE),
        }

    def _of_both(self) -> dict[str, Compute]:
        items = self._items

        def same_author(user: User, row_N: Int64) -> NDArray[np.bool_]:
            return user.author_L[None, :] == items.author_row_M[row_N][:, None]

        def same_topic(user: User, row_N: Int64) -> NDArray[np.bool_]:
            topic_N = items.topic_M[row_N]
            return (user.topic_L[None, :] == topic_N[:, None]) & (topic_N >= 0)[:, None]

        def summed(user: User, match_NL: NDArray[np.bool_], sign: int) -> Column:
            if not (user.row_L >= 0).any():
                return np.nan
            return (match_NL * np.maximum(sign * user.weight_L, 0)).sum(axis=1)

        def share(user: User, row_N: Int64, slots: int) -> Column:
            liked_L = np.maximum(user.weight_L[-slots:], 0)
            if not liked_L.sum() > 0:
                return np.nan
            return (same_topic(user, row_N)[:, -slots:] * liked_L).sum(axis=1) / liked_L.sum()

        def affinity(taste: Float32, vectors: Float32) -> Column:
            return np.where(vectors.any(axis=1) & taste.any(), vectors @ taste, np.nan)

        def intent(user: User, row_N: Int64) -> Column:
            liked = user.row_L[-INTENT_SLOTS:][user.weight_L[-INTENT_SLOTS:] > 0]
            liked = liked[items.media_vector_MD[liked].any(axis=1)]
            if not len(liked):
                return np.nan
            vector_ND = items.media_vector_MD[row_N]
            return np.where(vector_ND.any(axis=1), (vector_ND @ items.media_vector_MD[liked].T).max(axis=1), np.nan)

        return {
            "author_liked": lambda user, row_N: summed(user, same_author(user, row_N), 1),
            "author_disliked": lambda user, row_N: summed(user, same_author(user, row_N), -1),
            "author_followed": lambda user, row_N: (same_author(user, row_N) & (user.action_L == Action.FOLLOW)).any(
                axis=1
            ),
            "topic_share": lambda user, row_N: share(user, row_N, HISTORY_LENGTH),
            "topic_intent": lambda user, row_N: share(user, row_N, INTENT_SLOTS),
            "topic_disliked": lambda user, row_N: summed(user, same_topic(user, row_N), -1),
            "media_affinity": lambda user, row_N: affinity(user.media_taste_D, items.media_vector_MD[row_N]),
            "account_affinity": lambda user, row_N: affinity(
                user.account_taste_E, items.account_vector_UE[items.author_row_M[row_N]]
            ),
            "intent_affinity": intent,
        }

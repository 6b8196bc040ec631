"""The dense features, one line each. To add one: write a line here (docs/add_a_feature.md).

A value at time t comes from events before t only: user columns from the history before the request, item columns from a snapshot
that was taken before it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from features import history, view
from features.actions import N_ACTIONS, Action
from features.context import HISTORY_LENGTH, LONG_HISTORY_LENGTH
from features.counters import DAY_MS, HALF_LIFE_MS, HOUR_MS
from features.item_table import MAX_SURFACES
from features.recency import N_WINDOWS, USER_HALF_LIVES_MS
from features.related import RELATED_SLOTS
from features.schema import ALL_STAGES, RANKERS, Feature, Float32, Scope, Transform, fingerprint
from features.view import View

_LOG = Transform.LOG1P
_CLICK, _LONG, _LIKE = Action.CLICK, Action.LONG_VIEW, Action.LIKE
_NEGATIVE = (Action.HIDE, Action.REPORT)
_DEEP = (Action.SAVE, Action.SHARE, Action.COMMENT, Action.FOLLOW)

# A user's own rates start here and need this many impressions to move: a new user is average, not extreme.
_USER_PRIOR_IMPRESSIONS = 20.0
_RECENT_PRIOR_IMPRESSIONS = 5.0  # of the user's own rate, in the rates of the last hour and day
_HOUR, _DAY = range(N_WINDOWS)


# -- user --------------------------------------------------------------------------------------------------------------------


def _account_age_days(v: View) -> Float32:
    registered_B = v.contexts.registered_at_ms_B
    age_B = np.maximum(v.contexts.request_time_ms_B - registered_B, 0) / DAY_MS
    return v.of_user(np.where(registered_B >= 0, age_B, np.nan))


def _known_count(v: View, count_B: np.ndarray) -> Float32:
    return v.of_user(np.where(count_B >= 0, count_B, np.nan))


def _user_rate_B(v: View, actions: tuple[int, ...]) -> Float32:
    rates_B = v.users.rates_B
    if actions not in rates_B:
        counts_BA = v.users.counts_BA
        done_B = view.total(counts_BA, actions) + _USER_PRIOR_IMPRESSIONS * v.items.base_rate(actions)
        rates_B[actions] = done_B / (counts_BA[:, Action.IMPRESSION] + _USER_PRIOR_IMPRESSIONS)
    return rates_B[actions]


def _user_rate(v: View, *actions: int) -> Float32:
    return v.of_user(_user_rate_B(v, actions))


def _recent_rate(v: View, window: int, *actions: int) -> Float32:
    """What the user does lately; who did nothing lately is as ever."""
    recent_BA = v.contexts.recent_counts_BWA[:, window]
    done_B = view.total(recent_BA, actions) + _RECENT_PRIOR_IMPRESSIONS * _user_rate_B(v, actions)
    return v.of_user(done_B / (recent_BA[:, Action.IMPRESSION] + _RECENT_PRIOR_IMPRESSIONS))


def _actions_within(v: View, window_ms: int) -> Float32:
    recent_BL = (v.history.action_BL != 0) & (v.history.age_ms_BL <= window_ms)
    return v.of_user(recent_BL.sum(axis=1))


def _hours_since_action(v: View) -> Float32:
    newest_B = v.history.age_ms_BL[:, -1] / HOUR_MS
    return v.of_user(np.where(v.history.action_BL[:, -1] != 0, newest_B, np.nan))


# -- request -----------------------------------------------------------------------------------------------------------------


def _on_surface(number: int) -> Callable[[View], Float32]:
    """Whether the page is shown on the surface with this number; missing where the surface is none that training met."""
    return lambda v: v.of_user(v.users.on_surface_BS[:, number])


# -- item --------------------------------------------------------------------------------------------------------------------


def _item_age_hours(v: View) -> Float32:
    age_N = np.maximum(v.request_time_ms_N - v.items.created_at_ms_M[v.row_N], 0)
    return (age_N / HOUR_MS).astype(np.float32)


# -- cross -------------------------------------------------------------------------------------------------------------------


def _follows_author(v: View) -> Float32:
    followed_GL = v.same_author.of_user(v.history.action_BL == Action.FOLLOW)
    follows_G = np.asarray((followed_GL & v.same_author.match_GL).any(axis=1), dtype=np.float32)
    return v.same_author.of_candidates(follows_G)


def _item(
    name: str, compute: Callable[[View], Float32], transform: Transform = Transform.IDENTITY, everywhere: bool = False
) -> Feature:
    return Feature(name, Scope.ITEM, compute, transform, ALL_STAGES if everywhere else RANKERS)


FEATURES: tuple[Feature, ...] = (
    Feature("user_account_age_days", Scope.USER, _account_age_days, _LOG),
    Feature("user_n_following", Scope.USER, lambda v: _known_count(v, v.contexts.n_following_B), _LOG),
    Feature("user_n_followers", Scope.USER, lambda v: _known_count(v, v.contexts.n_followers_B), _LOG),
    Feature(
        "user_impressions", Scope.USER, lambda v: v.of_user(v.contexts.action_counts_BA[:, Action.IMPRESSION]), _LOG
    ),
    Feature("user_click_rate", Scope.USER, lambda v: _user_rate(v, _CLICK)),
    Feature("user_long_view_rate", Scope.USER, lambda v: _user_rate(v, _LONG)),
    Feature("user_like_rate", Scope.USER, lambda v: _user_rate(v, _LIKE)),
    Feature("user_deep_rate", Scope.USER, lambda v: _user_rate(v, *_DEEP)),
    Feature("user_negative_rate", Scope.USER, lambda v: _user_rate(v, *_NEGATIVE)),
    Feature(
        "user_impressions_1h",
        Scope.USER,
        lambda v: v.of_user(v.contexts.recent_counts_BWA[:, _HOUR, Action.IMPRESSION]),
        _LOG,
    ),
    Feature("user_click_rate_1h", Scope.USER, lambda v: _recent_rate(v, _HOUR, _CLICK)),
    Feature("user_long_view_rate_1h", Scope.USER, lambda v: _recent_rate(v, _HOUR, _LONG)),
    Feature("user_click_rate_24h", Scope.USER, lambda v: _recent_rate(v, _DAY, _CLICK)),
    Feature("user_long_view_rate_24h", Scope.USER, lambda v: _recent_rate(v, _DAY, _LONG)),
    Feature("user_like_rate_24h", Scope.USER, lambda v: _recent_rate(v, _DAY, _LIKE)),
    Feature("user_actions_1h", Scope.USER, lambda v: _actions_within(v, HOUR_MS), _LOG),
    Feature("user_actions_24h", Scope.USER, lambda v: _actions_within(v, DAY_MS), _LOG),
    Feature("user_hours_since_action", Scope.USER, _hours_since_action, _LOG),
    # Position is a bias, not a taste: serving asks about the top of the page for every candidate.
    Feature("position", Scope.CROSS, lambda v: v.position_N, _LOG),
    *(Feature(f"surface_{number}", Scope.REQUEST, _on_surface(number)) for number in range(MAX_SURFACES)),
    Feature("day_sine", Scope.REQUEST, lambda v: np.sin(2 * np.pi * v.day_share_N).astype(np.float32)),
    Feature("day_cosine", Scope.REQUEST, lambda v: np.cos(2 * np.pi * v.day_share_N).astype(np.float32)),
    Feature("item_age_hours", Scope.CROSS, _item_age_hours, _LOG, ALL_STAGES),
    _item("item_duration_s", lambda v: v.items.duration_ms_M[v.row_N] / np.float32(1000), _LOG),
    _item("item_non_recommendable", lambda v: v.items.non_recommendable_M[v.row_N], everywhere=True),
    _item("item_impressions", lambda v: v.item_counts_NA[:, Action.IMPRESSION], _LOG, everywhere=True),
    _item("item_click_rate", lambda v: v.smoothed_rate_N(v.item_counts_NA, _CLICK), everywhere=True),
    _item("item_long_view_rate", lambda v: v.smoothed_rate_N(v.item_counts_NA, _LONG)),
    _item("item_like_rate", lambda v: v.smoothed_rate_N(v.item_counts_NA, _LIKE), everywhere=True),
    _item("item_deep_rate", lambda v: v.smoothed_rate_N(v.item_counts_NA, *_DEEP)),
    _item("item_negative_rate", lambda v: v.smoothed_rate_N(v.item_counts_NA, *_NEGATIVE), everywhere=True),
    _item("item_recent_impressions", lambda v: v.recent_counts_NA[:, Action.IMPRESSION], _LOG),
    _item("item_recent_click_rate", lambda v: v.smoothed_rate_N(v.recent_counts_NA, _CLICK)),
    _item("author_impressions", lambda v: v.author_counts_NA[:, Action.IMPRESSION], _LOG),
    _item("author_n_media", lambda v: v.items.account_n_media_U[v.author_N], _LOG),
    _item("author_click_rate", lambda v: v.smoothed_rate_N(v.author_counts_NA, _CLICK), everywhere=True),
    _item("author_recent_click_rate", lambda v: v.smoothed_rate_N(v.author_recent_counts_NA, _CLICK)),
    _item("author_like_rate", lambda v: v.smoothed_rate_N(v.author_counts_NA, _LIKE)),
    _item("author_negative_rate", lambda v: v.smoothed_rate_N(v.author_counts_NA, *_NEGATIVE), everywhere=True),
    Feature(
        "author_liked", Scope.CROSS, lambda v: v.matched_weight_N(v.same_author, v.liked_weight_BL), _LOG, ALL_STAGES
    ),
    Feature("author_disliked", Scope.CROSS, lambda v: v.matched_weight_N(v.same_author, v.disliked_weight_BL), _LOG),
    Feature("author_followed", Scope.CROSS, _follows_author),
    Feature("topic_share", Scope.CROSS, lambda v: v.share_N(v.same_topic), stages=ALL_STAGES),
    Feature("topic_intent", Scope.CROSS, lambda v: v.share_N(v.same_topic, view.INTENT_SLOTS)),
    Feature("topic_disliked", Scope.CROSS, lambda v: v.matched_weight_N(v.same_topic, v.disliked_weight_BL), _LOG),
    Feature("media_affinity", Scope.CROSS, lambda v: v.media_affinity_N, stages=ALL_STAGES),
    Feature("account_affinity", Scope.CROSS, lambda v: v.account_affinity_N, stages=ALL_STAGES),
    Feature("intent_affinity", Scope.CROSS, lambda v: v.intent_affinity_N),
)

NEUTRAL_POSITION = 0.0

FINGERPRINT = fingerprint(
    FEATURES,
    {
        "history_length": HISTORY_LENGTH,
        "long_history_length": LONG_HISTORY_LENGTH,
        "related_slots": RELATED_SLOTS,
        "n_actions": N_ACTIONS,
        "half_life_ms": HALF_LIFE_MS,
        "smallest_taste": history.SMALLEST_TASTE,
        "taste_half_life_ms": history.TASTE_HALF_LIFE_MS,
        "action_weight": {action.name: weight for action, weight in history.ACTION_WEIGHT.items()},
        "prior_impressions": view.PRIOR_IMPRESSIONS,
        "user_prior_impressions": _USER_PRIOR_IMPRESSIONS,
        "recent_prior_impressions": _RECENT_PRIOR_IMPRESSIONS,
        "user_half_lives_ms": USER_HALF_LIVES_MS,
        "intent_slots": view.INTENT_SLOTS,
        "neutral_position": NEUTRAL_POSITION,
    },
)

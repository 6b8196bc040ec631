"""Every dense feature of one user and one item, written again from its meaning in plain Python: no shared code, no arrays."""

from __future__ import annotations

import math

from features.actions import N_ACTIONS, Action
from features.item_table import ItemTable
from tests.features.worlds import DAY, User

HOUR = DAY // 24
NAN = math.nan
WEIGHTS = {
    "CLICK": 1,
    "LONG_VIEW": 1,
    "LIKE": 2,
    "SAVE": 3,
    "SHARE": 3,
    "COMMENT": 2,
    "FOLLOW": 3,
    "HIDE": -3,
    "REPORT": -3,
}
CLICK, LONG, LIKE = [Action.CLICK], [Action.LONG_VIEW], [Action.LIKE]
DEEP = [Action.SAVE, Action.SHARE, Action.COMMENT, Action.FOLLOW]
NEGATIVE = [Action.HIDE, Action.REPORT]


def dense(user: User, items: ItemTable, media_id: int, position: float) -> dict[str, float]:
    """Feature name -> value, NaN = missing."""
    return {
        **_of_user(user, items),
        **_of_request(user, items, position),
        **_of_item(user, items, media_id),
        **_of_both(user, items, media_id),
    }


def _rate(counts: list[float], actions: list[Action], items: ItemTable) -> float:
    prior = sum(float(items.base_rate_A[a]) for a in actions)
    return (sum(float(counts[a]) for a in actions) + 20 * prior) / (float(counts[Action.IMPRESSION]) + 20)


def _lately(user: User, window: int, actions: list[Action], items: ItemTable) -> float:
    recent = user.recent[window * N_ACTIONS : (window + 1) * N_ACTIONS]
    done = sum(recent[a] for a in actions) + 5 * _rate(list(map(float, user.counts)), actions, items)
    return done / (recent[Action.IMPRESSION] + 5)


def _of_user(user: User, items: ItemTable) -> dict[str, float]:
    counts = list(map(float, user.counts))
    ages = [age for _, _, age in user.history]
    registered = user.registered_at_ms
    return {
        "user_account_age_days": max(user.time_ms - registered, 0) / DAY if registered >= 0 else NAN,
        "user_n_following": user.n_following if user.n_following >= 0 else NAN,
        "user_n_followers": user.n_followers if user.n_followers >= 0 else NAN,
        "user_impressions": counts[Action.IMPRESSION],
        "user_click_rate": _rate(counts, CLICK, items),
        "user_long_view_rate": _rate(counts, LONG, items),
        "user_like_rate": _rate(counts, LIKE, items),
        "user_deep_rate": _rate(counts, DEEP, items),
        "user_negative_rate": _rate(counts, NEGATIVE, items),
        "user_impressions_1h": user.recent[Action.IMPRESSION],
        "user_click_rate_1h": _lately(user, 0, CLICK, items),
        "user_long_view_rate_1h": _lately(user, 0, LONG, items),
        "user_click_rate_24h": _lately(user, 1, CLICK, items),
        "user_long_view_rate_24h": _lately(user, 1, LONG, items),
        "user_like_rate_24h": _lately(user, 1, LIKE, items),
        "user_actions_1h": sum(age <= HOUR for age in ages),
        "user_actions_24h": sum(age <= DAY for age in ages),
        "user_hours_since_action": min(ages) / HOUR if ages else NAN,
    }


def _of_request(user: User, items: ItemTable, position: float) -> dict[str, float]:
    angle = 2 * math.pi * (user.time_ms % DAY) / DAY
    names = [*items.surfaces, *[""] * (8 - len(items.surfaces))]
    shown = {
        f"surface_{i}": float(name == user.surface) if user.surface in items.surfaces else NAN
        for i, name in enumerate(names)
    }
    return {"position": position, **shown, "day_sine": math.sin(angle), "day_cosine": math.cos(angle)}


def _of_item(user: User, items: ItemTable, media_id: int) -> dict[str, float]:
    row = items.media_id_M.tolist().index(media_id)
    author = int(items.author_row_M[row])
    counts, recent = items.counts_MA[row].tolist(), items.recent_counts_MA[row].tolist()
    of_author = items.account_counts_UA[author].tolist()
    assert len(counts) == N_ACTIONS
    return {
        "item_age_hours": max(user.time_ms - int(items.created_at_ms_M[row]), 0) / HOUR,
        "item_duration_s": float(items.duration_ms_M[row]) / 1000,
        "item_non_recommendable": float(items.non_recommendable_M[row]),
        "item_impressions": counts[Action.IMPRESSION],
        "item_click_rate": _rate(counts, CLICK, items),
        "item_long_view_rate": _rate(counts, LONG, items),
        "item_like_rate": _rate(counts, LIKE, items),
        "item_deep_rate": _rate(counts, DEEP, items),
        "item_negative_rate": _rate(counts, NEGATIVE, items),
        "item_recent_impressions": recent[Action.IMPRESSION],
        "item_recent_click_rate": _rate(recent, CLICK, items),
        "author_impressions": of_author[Action.IMPRESSION],
        "author_n_media": float(items.account_n_media_U[author]),
        "author_click_rate": _rate(of_author, CLICK, items),
        "author_recent_click_rate": _rate(items.account_recent_counts_UA[author].tolist(), CLICK, items),
        "author_like_rate": _rate(of_author, LIKE, items),
        "author_negative_rate": _rate(of_author, NEGATIVE, items),
    }


def _of_both(user: User, items: ItemTable, media_id: int) -> dict[str, float]:
    ids = items.media_id_M.tolist()
    row = ids.index(media_id)
    author, topic = int(items.author_row_M[row]), int(items.topic_M[row])
    # (row, action, weight) of what the user acted on and the table knows, oldest first; None for the rest
    past = [
        (ids.index(media), action, WEIGHTS[action.name] * 0.5 ** (age / (3 * DAY))) if media in ids else None
        for media, action, age in user.history
    ]
    known = [entry for entry in past if entry]
    by_author = [entry for entry in known if items.author_row_M[entry[0]] == author]
    newest = [entry for entry in past[-10:] if entry]
    by_topic, newest_by_topic = (
        [entry for entry in entries if items.topic_M[entry[0]] == topic != -1] for entries in (known, newest)
    )
    return {
        "author_liked": _or_missing(known, sum(max(weight, 0) for _, _, weight in by_author)),
        "author_disliked": _or_missing(known, sum(max(-weight, 0) for _, _, weight in by_author)),
        "author_followed": float(any(action is Action.FOLLOW for _, action, _ in by_author)),
        "topic_share": _liked_share(by_topic, known),
        "topic_intent": _liked_share(newest_by_topic, newest),
        "topic_disliked": _or_missing(known, sum(max(-weight, 0) for _, _, weight in by_topic)),
        "media_affinity": _affinity(
            items.media_vector_MD[row].tolist(), [(items.media_vector_MD[r].tolist(), w) for r, _, w in known]
        ),
        "account_affinity": _affinity(
            items.account_vector_UE[author].tolist(),
            [(items.account_vector_UE[items.author_row_M[r]].tolist(), w) for r, _, w in known],
        ),
        "intent_affinity": _closest(
            items.media_vector_MD[row].tolist(), [items.media_vector_MD[r].tolist() for r, _, w in newest if w > 0]
        ),
    }


def _or_missing(known: list[tuple[int, Action, float]], value: float) -> float:
    return value if known else NAN


def _liked_share(matching: list[tuple[int, Action, float]], known: list[tuple[int, Action, float]]) -> float:
    total = sum(max(weight, 0) for _, _, weight in known)
    return sum(max(weight, 0) for _, _, weight in matching) / total if total > 0 else NAN


def _affinity(vector: list[float], past: list[tuple[list[float], float]]) -> float:
    taste = [sum(weight * other[d] for other, weight in past) for d in range(len(vector))]
    length = math.sqrt(sum(x * x for x in taste))
    largest = max((abs(weight) for _, weight in past), default=0.0)
    if not any(vector) or length <= 0.01 * largest:
        return NAN
    return sum(x * y for x, y in zip(vector, taste, strict=True)) / length


def _closest(vector: list[float], liked: list[list[float]]) -> float:
    known = [other for other in liked if any(other)]
    if not any(vector) or not known:
        return NAN
    return max(sum(x * y for x, y in zip(vector, other, strict=True)) for other in known)

"""Co-occurrence lists against loops over users and pairs."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import POSITIVE_ACTIONS, Action
from tests.training.logs import Event
from tests.training.sourcing.worlds import AS_OF_MINUTE, EVENTS, MEDIA, World, world
from training.sourcing.co_occurrence import CoOccurrence, co_occurring
from training.sourcing.config import CoOccurrenceConfig

ROW = {media: row for row, media in enumerate(sorted(MEDIA))}


def found(made: World, config: CoOccurrenceConfig, at_once: int = 10_000) -> CoOccurrence:
    return co_occurring(made.log, made.as_of_ms, config, pairs_at_once=at_once)


def as_lists(made: CoOccurrence) -> list[list[tuple[int, float]]]:
    return [
        [(int(made.liked.rows[at]), float(made.score[at])) for at in range(start, end)]
        for start, end in zip(made.liked.offsets[:-1], made.liked.offsets[1:], strict=True)
    ]


def naive(events: list[Event], config: CoOccurrenceConfig) -> list[list[tuple[int, float]]]:
    liked: dict[str, list[int]] = {}
    for event in reversed(events):
        rows = liked.setdefault(event.user, [])
        if event.action in POSITIVE_ACTIONS and ROW[event.media] not in rows:
            rows.append(ROW[event.media])
    liked = {user: rows[: config.recent_media] for user, rows in liked.items()}
    users = Counter(row for rows in liked.values() for row in rows)
    common = Counter(pair for rows in liked.values() for pair in permutations(rows, 2))
    lists: list[list[tuple[int, float]]] = [[] for _ in ROW]
    for (one, two), n in common.items():
        if n >= config.min_users:
            score = n / sqrt(users[one] * users[two]) * (n / (n + config.shrinkage))
            lists[one].append((two, float(np.float32(score))))
    return [sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[: config.per_media] for pairs in lists]


@given(
    EVENTS,
    st.builds(
        CoOccurrenceConfig,
        per_media=st.integers(1, 5),
        recent_media=st.integers(1, 6),
        min_users=st.integers(1, 3),
        shrinkage=st.sampled_from([0.0, 5.0]),
    ),
    st.integers(1, 30),
)
@settings(max_examples=150, deadline=None)
def test_lists_are_those_of_loops_however_the_pairs_are_cut(
    events: list[Event], config: CoOccurrenceConfig, at_once: int
) -> None:
    made = world(events)
    lists = found(made, config, at_once)
    for own, expected in zip(as_lists(lists), naive(made.past, config), strict=True):
        assert [row for row, _ in own] == [row for row, _ in expected]
        assert [score for _, score in own] == pytest.approx([score for _, score in expected], rel=1e-6)
    assert ((lists.score > 0) & (lists.score <= 1)).all()


def test_a_pair_counts_once_per_user_and_needs_two_of_them() -> None:
    clicks = [Event("ann", media, Action.CLICK, minute) for minute, media in enumerate([10, 11, 10, 11, 20])]
    assert found(world(clicks), CoOccurrenceConfig()).liked.covered() == 0
    both = found(
        world([*clicks, Event("bob", 10, Action.SAVE, 7), Event("bob", 11, Action.LIKE, 8)]), CoOccurrenceConfig()
    )
    assert [pair for own in as_lists(both) for pair in own] == [
        (1, float(np.float32(2 / 7))),
        (0, float(np.float32(2 / 7))),
    ]
    assert (both.liked.covered(), both.liked.offsets.tolist()) == (2, [0, 1, 2, 2, 2, 2, 2])


def test_events_at_the_moment_and_after_it_never_count() -> None:
    pairs = [
        Event(user, media, Action.CLICK, minute)
        for user in ("ann", "bob")
        for media, minute in ((10, 1), (11, AS_OF_MINUTE))
    ]
    assert len(found(world(pairs), CoOccurrenceConfig()).liked.rows) == 0


def test_hides_and_impressions_are_no_liking() -> None:
    shown = [(10, Action.HIDE), (11, Action.IMPRESSION)]
    events = [Event(user, media, action, 1) for user in ("ann", "bob") for media, action in shown]
    assert len(found(world(events), CoOccurrenceConfig()).liked.rows) == 0


def test_only_the_latest_media_of_a_user_make_pairs() -> None:
    events = [
        Event(user, media, Action.CLICK, minute) for user in ("ann", "bob") for minute, media in enumerate([10, 11, 20])
    ]
    lists = as_lists(found(world(events), CoOccurrenceConfig(recent_media=2)))
    assert [[row for row, _ in own] for own in lists] == [[], [3], [], [1], [], []]


def test_progress_ends_at_the_number_of_pairs() -> None:
    said: list[tuple[int, int]] = []
    events = [Event("ann", media, Action.CLICK, 1) for media in (10, 11, 20)]
    made = world(events)
    co_occurring(made.log, made.as_of_ms, CoOccurrenceConfig(), lambda done, total: said.append((done, total)), 4)
    assert said == [(3, 9), (6, 9), (9, 9)]

"""The search of long histories, against the same search in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.actions import HISTORY_ACTIONS, Action
from features.context import HISTORY_LENGTH, UserContexts, newest
from features.item_table import UNKNOWN_ROW, ItemTable
from features.related import RELATED_SLOTS, RelatedActions, related_actions
from tests.features.worlds import DAY, KNOWN_MEDIA, UNKNOWN_MEDIA, User, contexts_of, item_table

HOUR = DAY // 24
RECENT = [(40, Action.LIKE, age) for age in range(HISTORY_LENGTH, 0, -1)]  # what every stage reads anyway
ENTRIES = st.tuples(st.sampled_from(KNOWN_MEDIA + UNKNOWN_MEDIA), st.sampled_from(sorted(HISTORY_ACTIONS)))
HISTORIES = st.lists(ENTRIES, min_size=HISTORY_LENGTH - 3, max_size=HISTORY_LENGTH + 40)


def found(older: list[tuple[int, Action, int]], row: int, items: ItemTable) -> RelatedActions:
    return related_actions(contexts_of([User([*older, *RECENT])]), items, np.array([row]), np.array([0]))


def in_plain_python(user: User, items: ItemTable, row: int) -> list[tuple[int, int, float]]:
    """Row, action and age in hours of the slots that are filled, oldest first."""

    def category(place: int) -> tuple[str, int]:
        topic = int(items.topic_M[place])
        return ("topic", topic) if topic >= 0 else ("author", int(items.author_row_M[place]))

    slots = []
    for media, action, age in user.history[:-HISTORY_LENGTH]:
        place = items.media_id_M.tolist().index(media) if media in items.media_id_M else UNKNOWN_ROW
        if place != UNKNOWN_ROW and category(place) == category(row):
            slots.append((place, int(action), age / HOUR))
    return slots[-RELATED_SLOTS:]


@given(histories=st.lists(HISTORIES, min_size=1, max_size=3))
def test_the_search_finds_what_plain_python_finds(histories: list[list[tuple[int, Action]]]) -> None:
    items = item_table()
    users = [
        User([(media, action, (len(entries) - place) * HOUR) for place, (media, action) in enumerate(entries)])
        for entries in histories
    ]
    rows = np.arange(len(KNOWN_MEDIA))
    row_N, user_N = np.tile(rows, len(users)), np.repeat(np.arange(len(users)), len(rows))
    related = related_actions(contexts_of(users), items, row_N, user_N)
    for n, (row, user) in enumerate(zip(row_N, user_N, strict=True)):
        filled_S = related.action_NS[n] > 0
        slots = zip(
            related.row_NS[n, filled_S].tolist(),
            related.action_NS[n, filled_S].tolist(),
            related.age_hours_NS[n, filled_S].tolist(),
            strict=True,
        )
        assert list(slots) == in_plain_python(users[user], items, int(row))
        assert np.all(np.diff(filled_S.astype(int)) >= 0)  # right-aligned
        assert set(related.row_NS[n, ~filled_S].tolist()) <= {UNKNOWN_ROW}


def test_the_newest_actions_are_not_searched(items: ItemTable) -> None:
    assert not found([], 3, items).action_NS.any()
    assert found([(30, Action.CLICK, DAY)], 3, items).action_NS[0, -1] == Action.CLICK


def test_an_item_without_a_topic_stands_for_its_author_alone(items: ItemTable) -> None:
    """Media 60 has no topic; media 50 is by the same author and has one."""
    older = [(60, Action.SAVE, 3 * DAY), (50, Action.LIKE, 2 * DAY)]
    assert found(older, 5, items).row_NS[0, -2:].tolist() == [UNKNOWN_ROW, 5]
    assert found(older, 4, items).row_NS[0, -2:].tolist() == [UNKNOWN_ROW, 4]


def test_more_finds_than_slots_keep_the_newest(items: ItemTable) -> None:
    older = [(10, Action.CLICK, (100 - number) * HOUR) for number in range(30)]
    hours = found(older, 1, items).age_hours_NS[0]
    assert hours.tolist() == [float(100 - number) for number in range(30 - RELATED_SLOTS, 30)]


def test_an_action_of_the_future_has_age_zero(items: ItemTable) -> None:
    assert found([(10, Action.CLICK, -HOUR)], 0, items).age_hours_NS[0, -1] == 0


@pytest.mark.parametrize("candidates", [0, 2])
def test_nobody_with_a_long_history_costs_nothing_and_finds_nothing(items: ItemTable, candidates: int) -> None:
    users = contexts_of([User(), User(RECENT)])
    related = related_actions(users, items, np.zeros(candidates, np.int64), np.arange(candidates))
    assert related.row_NS.shape == (candidates, RELATED_SLOTS)
    assert not related.action_NS.any()


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), kept=st.integers(0, 7))
def test_newest_cuts_every_history_from_its_old_end(lengths: list[int], kept: int) -> None:
    users = [User([(10 * (n + 1), Action.CLICK, length - n) for n in range(length)]) for length in lengths]
    cut: UserContexts = newest(contexts_of(users), kept)
    expected = [contexts_of([User(user.history[len(user.history) - min(kept, len(user.history)) :])]) for user in users]
    assert np.diff(cut.history_offsets).tolist() == [len(one.history_media_id_H) for one in expected]
    for name in ("history_media_id_H", "history_action_H", "history_time_ms_H"):
        assert getattr(cut, name).tolist() == [value for one in expected for value in getattr(one, name).tolist()]

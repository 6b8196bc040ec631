"""What is measured of a ranker's predictions: GAUC with the histories of the window's start, all else as it came."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from features.actions import Action
from features.dense import FEATURES
from tests.training.logs import MINUTE, START, Event, dataset
from training import metrics
from training.contexts import ContextLog
from training.evaluation import Predictions
from training.event_log import EventLog
from training.impressions import impressions_of
from training.ranking_build import build_ranking_set
from training.ranking_set import RankingSet
from training.snapshots import ItemTables, ItemVectors

Float32 = NDArray[np.float32]

GOOD, BAD = 10, 20
USERS = 5
DAY_MINUTES = 24 * 60
WINDOW_MS = START + DAY_MINUTES * MINUTE
NAMES = [feature.name for feature in FEATURES]


def before_and_in_the_window() -> list[Event]:
    """Everybody clicks what is good and nothing else, and sees the good before the bad, a day before the window and in it.

    The last user has no history when the window begins, the first one clicks twice in the window.
    """
    events: list[Event] = []

    def show(user: int, media: int, minute: float) -> None:
        events.append(Event(f"u{user}", media, Action.IMPRESSION, minute, f"r{len(events)}", 0))
        if media == GOOD:
            events.append(Event(f"u{user}", media, Action.CLICK, minute + 0.5, events[-1].request))

    for user in range(USERS - 1):
        for number, media in enumerate((BAD, GOOD, BAD, BAD)):
            show(user, media, 10 * number + user)
    for user in range(USERS):
        shown = (GOOD, BAD, GOOD, BAD, BAD) if user == 0 else (GOOD, BAD, BAD, BAD)
        for number, media in enumerate(shown):
            show(user, media, DAY_MINUTES + 20 * number + user)
    return sorted(events, key=lambda event: event.minute)


@pytest.fixture(name="sets", scope="module")
def _sets() -> tuple[RankingSet, RankingSet]:
    """The window's impressions with the history of each moment, and with that of its start."""
    data = dataset(before_and_in_the_window(), {GOOD: "a", BAD: "b"})
    log = EventLog.from_dataset(data)
    tables = ItemTables(log, data.media, ItemVectors.zeros(log))
    shown, contexts = impressions_of(log), ContextLog(log, data.users)
    came, frozen = (
        build_ranking_set(shown, contexts, tables, start_ms=WINDOW_MS, end_ms=data.as_of_ms, history_until_ms=until_ms)
        for until_ms in (None, WINDOW_MS)
    )
    return came, frozen


def scores(rows: RankingSet) -> Float32:
    """A ranker that knows which media are good, and believes even more in users who have clicked. Shape [N, 1]."""
    user_N, item_N = (rows.dense_NF[:, [NAMES.index(name)]] for name in ("user_click_rate", "item_click_rate"))
    return np.nan_to_num(user_N) + np.float32(0.01) * np.nan_to_num(item_N)


def test_gauc_orders_what_a_user_saw_by_one_history(sets: tuple[RankingSet, RankingSet]) -> None:
    """With the history of each moment every click stands below the misses that came after it, though the ranker is right."""
    came, frozen = sets
    label_N = came.label_NT[:, came.tasks.index("click")]
    assert (len(came), label_N.sum(), len(np.unique(came.user_N))) == (21, 6, USERS)
    assert metrics.gauc(label_N, scores(came)[:, 0], came.user_N) == 0
    found = Predictions(("click",), came, scores(came), scores(came), scores(frozen)).metrics()["click"]
    assert found.gauc == 1


def test_all_else_is_measured_with_the_history_of_each_moment(sets: tuple[RankingSet, RankingSet]) -> None:
    came, frozen = sets
    with_gauc = Predictions(("click",), came, scores(came), scores(came), scores(frozen))
    without = Predictions(("click",), came, scores(came), scores(came))
    found, bare = with_gauc.metrics()["click"], without.metrics()["click"]
    assert np.isnan(bare.gauc)
    assert replace(found, gauc=0) == replace(bare, gauc=0)
    assert found.auc == metrics.auc(came.label_NT[:, came.tasks.index("click")], scores(came)[:, 0])
    assert with_gauc.calibration() == without.calibration()


def test_a_user_without_a_history_keeps_having_none(sets: tuple[RankingSet, RankingSet]) -> None:
    came, frozen = sets
    assert [_impressions(rows)[rows.user_N == USERS - 1].tolist() for rows in sets] == [[0, 1, 2, 3], [0, 0, 0, 0]]
    assert _impressions(frozen)[frozen.user_N == 0].tolist() == [4] * 5
    assert _impressions(came)[came.user_N == 0].tolist() == [4, 5, 6, 7, 8]


def _impressions(rows: RankingSet) -> Float32:
    return rows.dense_NF[:, NAMES.index("user_impressions")]

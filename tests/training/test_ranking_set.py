"""Ranking sets: which impressions they hold, in which order, and that nothing of the future is in them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from features.actions import Action
from features.assemble import assemble, candidate_view
from features.context import HISTORY_LENGTH
from features.dense import FEATURES, NEUTRAL_POSITION
from features.schema import Scope
from tests.training.logs import HOUR, MINUTE, START, Event, dataset, planted
from training import columns
from training.columns import Scratch
from training.contexts import ContextLog
from training.datasets import Dataset
from training.errors import FitError
from training.event_log import EventLog
from training.impressions import impressions_of
from training.rankers import RankConfig, train_rank
from training.ranking_build import build_ranking_set
from training.ranking_set import RankingSet
from training.snapshots import ItemTables, ItemVectors

NAMES = [feature.name for feature in FEATURES]
MEDIA = {10: "a", 11: "b", 20: None}
EVENTS = [
    Event("ann", 10, Action.IMPRESSION, 0, "r1", 0),
    Event("bob", 11, Action.IMPRESSION, 1, "r2", 0),
    Event("ann", 20, Action.IMPRESSION, 2, "r1", 1),
    Event("ann", 20, Action.LIKE, 3, "r1"),
    Event("ann", 11, Action.IMPRESSION, 4),
    Event("ann", 10, Action.IMPRESSION, 5),
]
END = START + 10 * HOUR


def built(
    data: Dataset,
    start_ms: int = START,
    end_ms: int = END,
    every_ms: int = MINUTE,
    cap: int | None = None,
    scratch: Scratch | None = None,
    history_until_ms: int | None = None,
) -> RankingSet:
    log = EventLog.from_dataset(data, scratch)
    tables = ItemTables(log, data.media, ItemVectors.zeros(log), every_ms)
    shown, contexts = impressions_of(log), ContextLog(log, data.users)
    return build_ranking_set(
        shown,
        contexts,
        tables,
        start_ms=start_ms,
        end_ms=end_ms,
        max_impressions=cap,
        history_until_ms=history_until_ms,
    )


def column(examples: RankingSet, name: str) -> list[float]:
    return [float(value) for value in examples.dense_NF[:, NAMES.index(name)]]


def test_requests_lie_together_in_the_order_of_their_first_impression() -> None:
    examples = built(dataset(EVENTS, MEDIA))
    assert examples.request_N.tolist() == [0, 0, 1, 2, 3]
    assert examples.row_N.tolist() == [0, 2, 1, 1, 0]
    assert examples.user_N.tolist() == [0, 0, 1, 0, 0]
    assert (examples.time_ms_N - START).tolist() == [0, 0, MINUTE, 4 * MINUTE, 5 * MINUTE]


def test_labels_are_the_actions_that_an_impression_caused() -> None:
    examples = built(dataset(EVENTS, MEDIA))
    assert examples.label_NT[:, examples.tasks.index("like")].tolist() == [0, 1, 0, 0, 0]
    assert examples.label_NT.sum() == 1


def test_positions_are_those_of_the_log_and_missing_ones_stay_missing() -> None:
    np.testing.assert_array_equal(column(built(dataset(EVENTS, MEDIA)), "position"), [0, 1, 0, np.nan, np.nan])


def test_a_request_knows_only_what_happened_before_its_first_impression() -> None:
    examples = built(dataset(EVENTS, MEDIA))
    assert column(examples, "user_impressions") == [0, 0, 0, 2, 3]
    assert column(examples, "item_impressions") == [0, 0, 0, 1, 1]
    assert (examples.history_action_BL != 0).sum(axis=1).tolist() == [0, 0, 1, 1]
    assert examples.history_row_BL[2, -1] == 2
    assert examples.history_age_ms_BL[2, -1] == MINUTE


def test_frozen_histories_end_where_they_are_told_to_and_grow_older() -> None:
    examples = built(dataset(EVENTS, MEDIA), history_until_ms=START + 3 * MINUTE + 1)
    assert column(examples, "user_impressions") == [
        0,
        0,
        0,
        2,
        2,
    ]  # ann's impression of minute 4 is not known in minute 5
    assert column(examples, "item_impressions") == [0, 0, 0, 1, 1]
    assert examples.history_row_BL[2:, -1].tolist() == [2, 2]
    assert examples.history_age_ms_BL[2:, -1].tolist() == [MINUTE, 2 * MINUTE]  # what ann liked in minute 3
    nothing = built(dataset(EVENTS, MEDIA), history_until_ms=START)
    assert column(nothing, "user_impressions") == [0] * 5
    assert not nothing.history_action_BL.any()


def test_only_what_follows_from_the_user_is_frozen() -> None:
    data = planted(users=6)
    start_ms = START + 30 * HOUR
    came, frozen = (
        built(data, start_ms, data.as_of_ms, HOUR, history_until_ms=until_ms) for until_ms in (None, start_ms)
    )
    assert came.same_impressions(frozen)
    np.testing.assert_array_equal(came.label_NT, frozen.label_NT)
    for place, feature in enumerate(FEATURES):
        if feature.scope in (Scope.ITEM, Scope.REQUEST) or feature.name == "item_age_hours":
            np.testing.assert_array_equal(came.dense_NF[:, place], frozen.dense_NF[:, place], err_msg=feature.name)
    seen_N = np.array(column(frozen, "user_impressions"))
    of_user = [set(seen_N[frozen.user_N == user]) for user in np.unique(frozen.user_N)]
    assert {len(counts) for counts in of_user} == {1}
    first_B = np.unique(came.user_N, return_index=True)[1]  # nothing has happened to a user before the first request
    np.testing.assert_array_equal(np.array(column(came, "user_impressions"))[first_B], seen_N[first_B])
    assert sum(column(came, "user_impressions")) > seen_N.sum()
    since_ms_N = frozen.time_ms_N[np.unique(frozen.request_N, return_index=True)[1]] - start_ms
    assert (np.where(frozen.history_action_BL > 0, frozen.history_age_ms_BL, 10**12).min(axis=1) > since_ms_N).all()


def test_frozen_requests_stand_where_serving_assumes_them_if_the_log_knows_places() -> None:
    until_ms = START + 3 * MINUTE
    assert column(built(dataset(EVENTS, MEDIA), history_until_ms=until_ms), "position") == [NEUTRAL_POSITION] * 5
    placeless = dataset([replace(event, position=None) for event in EVENTS], MEDIA)
    assert np.isnan(column(built(placeless, history_until_ms=until_ms), "position")).all()


def test_a_set_at_the_place_that_serving_assumes_differs_in_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    came = built(dataset(EVENTS, MEDIA))
    monkeypatch.setattr(columns, "CHUNK", 2)
    neutral = came.at_neutral_position()
    assert column(neutral, "position") == [NEUTRAL_POSITION] * 5
    assert column(came, "position")[:2] == [0, 1]
    others = [place for place, name in enumerate(NAMES) if name != "position"]
    np.testing.assert_array_equal(neutral.dense_NF[:, others], came.dense_NF[:, others])
    kept = [each.name for each in fields(RankingSet) if each.name != "dense_NF"]
    assert all(getattr(neutral, name) is getattr(came, name) for name in kept)


def test_an_empty_window_has_nothing_to_freeze() -> None:
    came, frozen = (built(dataset(EVENTS, MEDIA), END - 1, END, history_until_ms=until) for until in (None, END - 1))
    assert (len(frozen), frozen.n_requests) == (0, 0)
    assert came.same_impressions(frozen)


def test_a_quiet_window_in_the_middle_of_the_log_is_empty_and_said_where_a_ranker_should_learn_from_it() -> None:
    data = dataset(EVENTS, MEDIA)
    quiet = built(data, START + MINUTE + 1, START + 2 * MINUTE)
    assert (len(quiet), quiet.n_requests) == (0, 0)
    with pytest.raises(FitError, match="no task has 50 positives"):
        train_rank(RankConfig(), quiet, built(data))
    with pytest.raises(FitError, match="no validation rows"):
        train_rank(RankConfig(min_positives=1), built(data), quiet)


def test_other_impressions_are_told_apart() -> None:
    examples = built(dataset(EVENTS, MEDIA))
    for name in ("user_N", "time_ms_N", "row_N"):
        assert not examples.same_impressions(replace(examples, **{name: getattr(examples, name) + 1}))
    assert not examples.same_impressions(examples.select(slice(0, 2)))


def test_a_rarer_snapshot_knows_less() -> None:
    assert column(built(dataset(EVENTS, MEDIA), every_ms=24 * HOUR), "item_impressions") == [0] * 5


def test_the_window_takes_whole_requests_by_their_time() -> None:
    assert len(built(dataset(EVENTS, MEDIA), end_ms=START + 1)) == 2
    assert len(built(dataset(EVENTS, MEDIA), start_ms=START + 1)) == 3


@pytest.mark.parametrize(("cap", "kept"), [(0, 0), (1, 1), (3, 3), (4, 3), (5, 5), (9, 5)])
def test_a_cap_keeps_the_most_recent_whole_requests(cap: int, kept: int) -> None:
    examples = built(dataset(EVENTS, MEDIA), cap=cap)
    assert len(examples) == kept
    assert examples.n_requests == len(np.unique(examples.request_N))


def test_an_empty_window_gives_an_empty_set() -> None:
    examples = built(dataset(EVENTS, MEDIA), start_ms=END, end_ms=END + 1)
    assert (len(examples), examples.n_requests) == (0, 0)


def test_events_after_a_request_change_nothing_but_labels() -> None:
    data = planted(users=6)
    cut_ms = START + 3 * 600 * MINUTE
    before = data.events.filter(data.events["event_time"].dt.epoch("ms") < cut_ms)
    whole, part = built(data, end_ms=cut_ms), built(replace(data, events=before), end_ms=cut_ms)
    np.testing.assert_array_equal(whole.dense_NF, part.dense_NF)
    np.testing.assert_array_equal(whole.history_row_BL, part.history_row_BL)
    np.testing.assert_array_equal(whole.related_row_NS, part.related_row_NS)


def test_older_actions_are_found_at_the_moment_of_the_request() -> None:
    """A user who clicked the same media item every minute meets it again: the clicks before the newest 50 are related."""
    minutes = range(HISTORY_LENGTH + 3)
    events = [Event("ann", 10, action, minute) for minute in minutes for action in (Action.IMPRESSION, Action.CLICK)]
    examples = built(dataset(events, MEDIA))
    found_N = (examples.related_action_NS > 0).sum(axis=1)
    assert found_N.tolist() == [max(0, clicked - HISTORY_LENGTH) for clicked in minutes]
    assert examples.related_age_hours_NS[-1, -2:].tolist() == pytest.approx([52 / 60, 51 / 60])


def test_a_row_is_what_serving_would_compute_at_that_moment() -> None:
    data = planted(users=6)
    examples, log = built(data, end_ms=data.as_of_ms, every_ms=HOUR), EventLog.from_dataset(data)
    tables = ItemTables(log, data.media, ItemVectors.zeros(log), HOUR)
    for n in (0, len(examples) // 2, len(examples) - 1):
        context = ContextLog(log, data.users).at(examples.user_N[n : n + 1], examples.time_ms_N[n : n + 1], [""])
        table = tables.as_of(int(examples.time_ms_N[n]) // HOUR * HOUR)
        position = examples.dense_NF[n : n + 1, NAMES.index("position")]
        view = candidate_view(context, table, examples.row_N[n : n + 1], np.zeros(1, dtype=np.int64), position)
        np.testing.assert_allclose(assemble(view, FEATURES)[0], examples.dense_NF[n], rtol=1e-6)


def test_progress_ends_with_everything_done() -> None:
    data, calls = dataset(EVENTS, MEDIA), list[tuple[int, int]]()
    log = EventLog.from_dataset(data)
    tables = ItemTables(log, data.media, ItemVectors.zeros(log), HOUR)
    shown, contexts = impressions_of(log), ContextLog(log, data.users)
    build_ranking_set(
        shown, contexts, tables, start_ms=START, end_ms=END, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (5, 5)


def test_selected_requests_are_renumbered_with_their_histories() -> None:
    examples = built(dataset(EVENTS, MEDIA))
    chosen = examples.select(np.array([True, False, True, False]))
    assert chosen.request_N.tolist() == [0, 0, 1]
    assert chosen.row_N.tolist() == [0, 2, 1]
    np.testing.assert_array_equal(chosen.history_row_BL, examples.history_row_BL[[0, 2]])
    assert examples.select(slice(0, 0)).n_requests == 0


def test_a_column_of_the_wrong_length_is_named() -> None:
    examples = built(dataset(EVENTS, MEDIA))
    with pytest.raises(ValueError, match=r"label_NT has 2 rows, expected 5"):
        replace(examples, label_NT=examples.label_NT[:2])
    with pytest.raises(ValueError, match="never decrease"):
        replace(examples, request_N=examples.request_N[::-1])


@pytest.mark.parametrize("cap", [None, 150])
def test_a_set_in_files_is_the_one_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cap: int | None) -> None:
    data = planted(users=6)
    in_memory = built(data, end_ms=data.as_of_ms, cap=cap)
    monkeypatch.setattr(columns, "CHUNK", 50)
    scratch = Scratch(tmp_path, budget=0)
    in_files = built(data, end_ms=data.as_of_ms, cap=cap, scratch=scratch)
    chosen_B, chosen_N = np.arange(in_files.n_requests) % 3 == 0, np.arange(len(in_files)) % 5 == 0
    for one, other in (
        (in_files, in_memory),
        (in_files.select(chosen_B), in_memory.select(chosen_B)),
        (in_files.rows(chosen_N), in_memory.rows(chosen_N)),
    ):
        for field in fields(RankingSet):
            if field.name != "scratch":
                np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name), err_msg=field.name)
    assert len(in_memory) == 144 if cap else len(in_memory) > 700
    assert scratch.in_memory == 0

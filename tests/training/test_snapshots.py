"""Event logs and the item tables that follow from them."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.item_table import MAX_SURFACES, UNKNOWN_TOPIC, ItemTable
from tests.training.logs import HOUR, MINUTE, START, Event, dataset
from training.event_log import EventLog
from training.snapshots import ItemTables, ItemVectors, busiest_surfaces

MEDIA = {30: "b", 10: "a", 11: None}
EVENTS = [
    Event("bob", 10, Action.IMPRESSION, 0),
    Event("ann", 10, Action.IMPRESSION, 1),
    Event("ann", 10, Action.LIKE, 1),
    Event("bob", 30, Action.IMPRESSION, 90),
]


def tables(every_ms: int = HOUR) -> ItemTables:
    data = dataset(EVENTS, MEDIA)
    log = EventLog.from_dataset(data)
    return ItemTables(log, data.media, ItemVectors.zeros(log, 2, 3), every_ms)


def test_a_log_numbers_users_media_and_accounts_by_sorted_id() -> None:
    log = EventLog.from_dataset(dataset(EVENTS, MEDIA))
    assert log.user_ids == ("ann", "bob")
    assert log.media_id_M.tolist() == [10, 11, 30]
    assert log.user_E.tolist() == [1, 0, 0, 1]
    assert log.media_row_E.tolist() == [0, 0, 0, 2]
    assert log.author_row_E.tolist() == [0, 0, 0, 1]
    assert log.action_E.tolist() == [1, 1, 4, 1]


def test_before_a_time_means_earlier_than_it() -> None:
    log = EventLog.from_dataset(dataset(EVENTS, MEDIA))
    assert [log.count_before(START + minute * MINUTE) for minute in (0, 1, 2, 91)] == [0, 1, 3, 4]
    assert log.positives_before(START + 2 * MINUTE).tolist() == [2]


def test_a_table_counts_only_what_happened_before_it() -> None:
    table = tables().as_of(START + MINUTE)
    assert table.counts_MA[:, Action.IMPRESSION].tolist() == [1, 0, 0]
    assert table.counts_MA[:, Action.LIKE].sum() == 0


def test_accounts_count_the_actions_on_all_their_media() -> None:
    table = tables().as_of(START + 2 * HOUR)
    assert table.account_counts_UA[:, Action.IMPRESSION].tolist() == [2, 1]
    assert table.base_rate_A[Action.LIKE] == pytest.approx(1 / 3)
    assert table.account_n_media_U.tolist() == [2, 1]


def test_media_that_do_not_exist_yet_have_a_row_but_do_not_count_for_their_author() -> None:
    table = tables().as_of(START)
    assert len(table.media_id_M) == 3
    assert table.account_n_media_U.tolist() == [0, 0]


def test_policy_flags_are_bits_in_the_order_of_their_names() -> None:
    data = dataset(EVENTS, MEDIA)
    flags = pl.Series([["nudity", "graphic", "nudity"], None, ["graphic"]], dtype=pl.List(pl.String))
    log, media = EventLog.from_dataset(data), data.media.with_columns(policy_flags=flags)  # of media 30, 10, 11
    table = ItemTables(log, media, ItemVectors.zeros(log)).as_of(START)
    assert table.policy_flags == ("graphic", "nudity")
    assert table.policy_flags_M.tolist() == [0b00, 0b01, 0b11]
    assert table.policy_flags_M.dtype == np.uint32


def test_the_last_of_32_flags_has_a_bit_and_one_more_is_refused() -> None:
    data = dataset(EVENTS, MEDIA)
    log, names = EventLog.from_dataset(data), [f"flag{number:02}" for number in range(33)]
    tables = [
        ItemTables(
            log,
            data.media.with_columns(policy_flags=pl.Series([[], some, []], dtype=pl.List(pl.String))),
            ItemVectors.zeros(log),
        )
        for some in (names[:32], names)
    ]
    assert tables[0].as_of(START).policy_flags_M.tolist() == [2**32 - 1, 0, 0]
    with pytest.raises(ValueError, match="policy_flags has 33 names, at most 32"):
        tables[1].as_of(START)


def test_without_the_column_nothing_is_flagged() -> None:
    table = tables().as_of(START)
    assert (table.policy_flags, table.policy_flags_M.tolist()) == ((), [0, 0, 0])


def test_static_columns_follow_the_rows_and_nulls_stay_missing() -> None:
    table = tables().as_of(START)
    assert table.topics == ("a", "b")
    assert table.topic_M.tolist() == [0, UNKNOWN_TOPIC, 1]
    assert table.author_row_M.tolist() == [0, 0, 1]
    assert np.isnan(table.duration_ms_M).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-100, 200), min_size=1, max_size=6))
def test_a_table_does_not_depend_on_the_tables_before_it(minutes: list[int]) -> None:
    walked = tables()
    for minute in minutes:
        one = walked.as_of(START + minute * MINUTE)
    other = tables().as_of(START + minutes[-1] * MINUTE)
    for field in fields(ItemTable):
        name = field.name
        if name in ("as_of_ms", "topics", "policy_flags"):
            assert getattr(one, name) == getattr(other, name)
        else:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, err_msg=name)


def test_a_request_gets_the_last_snapshot_at_or_before_it() -> None:
    times = np.array([0, HOUR - 1, HOUR, 5 * HOUR + 1])
    assert tables().snapshot_ms(times).tolist() == [0, 0, HOUR, 5 * HOUR]


def test_the_busiest_surfaces_come_first_and_no_name_is_none() -> None:
    def busiest(names: list[str | None]) -> tuple[str, ...]:
        data = dataset([Event("ann", 10, Action.CLICK, minute) for minute in range(len(names))], MEDIA)
        events = data.events.with_columns(surface=pl.Series(names, dtype=pl.String))
        return busiest_surfaces(EventLog.from_dataset(replace(data, events=events)))

    assert busiest(["b", "a", None, "", "c", "b", "c"]) == ("b", "c", "a")
    assert busiest([f"s{i:02}" for i in range(20)]) == tuple(f"s{i:02}" for i in range(MAX_SURFACES))
    assert busiest([None]) == ()


def test_a_long_way_forward_is_counted_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = tables().as_of(START + 5 * HOUR)
    monkeypatch.setattr("training.snapshots.CHUNK", 1)
    in_steps = tables().as_of(START + 5 * HOUR)
    np.testing.assert_array_equal(in_steps.counts_MA, at_once.counts_MA)
    np.testing.assert_allclose(in_steps.recent_counts_MA, at_once.recent_counts_MA, rtol=1e-6)
    assert at_once.counts_MA.sum() > 1


def test_every_table_knows_the_surfaces(tmp_path: Path) -> None:
    data = dataset(EVENTS, MEDIA)
    log = EventLog.from_dataset(data)
    table = ItemTables(log, data.media, ItemVectors.zeros(log), surfaces=("explore",)).as_of(START)
    table.save(tmp_path)
    assert ItemTable.open(tmp_path).surfaces == ("explore",)

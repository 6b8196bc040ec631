"""The columns of benchmarks/kuairand_limits.py: what they count, and that none of them knows what comes later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kuairand_columns import KEY, before, exposures, groups, known_of, place_of, video_values

_PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=40)


@given(_PAIRS)
def test_a_sum_holds_the_earlier_rows_of_its_key_and_no_other(pairs: list[tuple[int, int]]) -> None:
    key_N, value_N = np.array([k for k, _ in pairs], dtype=np.int64), np.array([v for _, v in pairs], dtype=np.int64)
    expected = [sum(v for k, v in pairs[:place] if k == key) for place, (key, _) in enumerate(pairs)]
    assert before(key_N, value_N).tolist() == expected


def test_columns_do_not_change_with_what_happens_at_that_moment_or_later() -> None:
    log, cut = _log(), 150
    changed = log.with_columns(
        pl.when(pl.int_range(pl.len()) >= cut).then(1 - pl.col(name)).otherwise(pl.col(name)).alias(name)
        for name in ("is_click", "long_view", "play_time_ms")
    )
    tag_N, music_N = (log["video_id"] % 3).to_numpy(), (log["video_id"] % 5).to_numpy()
    found, later = groups(log, tag_N, music_N), groups(changed, tag_N, music_N)
    for name, group_NC in found.items():
        np.testing.assert_allclose(group_NC[: cut + 1], later[name][: cut + 1], atol=1e-9, err_msg=name)
        if name != "collaborative filtering":  # it changes with the day
            assert not np.allclose(group_NC[cut + 1 :], later[name][cut + 1 :], equal_nan=True), name


def test_exposures_are_found_by_their_key() -> None:
    log = _log()
    chosen = log[[7, 3, 3]]
    assert place_of(log, [chosen[name] for name in KEY]).tolist() == [7, 3, 3]
    with pytest.raises(ValueError, match="lacks 1 of 1"):
        place_of(log, [pl.Series([1]), pl.Series([1]), pl.Series([-1])])


def test_files_are_read_as_numbers(tmp_path: Path) -> None:
    head = "user_id,video_id,time_ms,is_click,long_view,tab,play_time_ms,duration_ms\n"
    rows = ["5,1,90000000,1,0,1,7,9\n", "5,1,90000000,1,0,1,7,9\n", "6,2,10,0,0,1,0,9\n"]
    (tmp_path / "log_standard_1.csv").write_text(head + "".join(rows), "utf-8")
    (tmp_path / "video_features_basic_pure.csv").write_text("video_id,tag\n2,b\n1,\n3,a\n", "utf-8")
    (tmp_path / "users.csv").write_text("user_id,degree,days\n5,full,3\n6,low,\n", "utf-8")
    log = exposures(tmp_path)
    assert log["user_id"].to_list() == [6, 5]
    assert log["day"].to_list() == [0, 1]
    found = known_of(tmp_path, "users", "user_id", log["user_id"])
    np.testing.assert_array_equal(found, [[2, np.nan], [1, 3]])
    assert video_values(tmp_path, log, "tag").tolist() == [1, 0]


def _log() -> pl.DataFrame:
    random = np.random.default_rng(1)
    columns = {name: random.integers(0, high, 300) for name, high in (("user_id", 12), ("video_id", 20), ("tab", 3))}
    labels = {name: random.integers(0, 2, 300) for name in ("is_click", "long_view", "play_time_ms")}
    time_ms = np.sort(random.integers(0, 4 * 86_400_000, 300))
    made = pl.DataFrame({**columns, **labels, "time_ms": time_ms, "duration_ms": np.full(300, 1)})
    return made.with_columns(day=pl.col("time_ms") // 86_400_000)

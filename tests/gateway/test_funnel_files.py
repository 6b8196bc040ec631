"""The funnel log's files: whole, of one kind each, within their bound, and none of a page's business when the disk is broken."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.schema import Stage
from gateway.funnel_files import NO_POSITION, FilesConfig, FunnelFiles, FunnelRecord
from gateway.funnel_pass import Judged
from serving.errors import ConfigError
from tests.gateway.feeds import NOW_MS, candidates, feed_request

NAN = float("nan")
COUNT = 3


def judged(
    score: NDArray[np.float32] | None = None,
    tasks: tuple[str, ...] = ("like",),
    feature: NDArray[np.float32] | None = None,
) -> Judged:
    score_N = np.array([0.5, NAN, -1.0], np.float32) if score is None else score
    probability_NT = np.where(np.isnan(score_N), np.nan, 0.25)[:, None].repeat(len(tasks), 1).astype(np.float32)
    return Judged(score_N, tasks, probability_NT, feature, "f00d" if feature is not None else "")


def record(
    request_id: str = "r1", bundle: str = "v1", features: int = 2, clock_start_ms: int | None = None
) -> FunnelRecord:
    feature_NF = np.full((COUNT, features), 1.5, np.float32)
    feature_NF[0, 0] = NAN
    return FunnelRecord(
        request=replace(feed_request(), request_id=request_id),
        bundle_version=bundle,
        clock_start_ms=clock_start_ms,
        candidates=candidates([0.9, NAN, 0.7], seed=[7, 0, 0]),
        judged={Stage.PRERANK: judged(tasks=()), Stage.RANK: judged(), Stage.RERANK: judged(feature=feature_NF)},
        position_N=np.array([25, NO_POSITION, NO_POSITION]),
        dropped_at_N=[None, "prerank", "diversity"],
    )


def files(directory: Path, requests: int = 100, max_bytes: int = 10**9) -> FunnelFiles:
    return FunnelFiles(FilesConfig(directory, max_bytes, requests))


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != ".lock")


def test_a_row_tells_everything_about_a_candidate(tmp_path: Path) -> None:
    log = files(tmp_path)
    log.add(record(clock_start_ms=1_000))
    log.roll()
    frame = pl.read_parquet(tmp_path / "*.parquet")
    first, second, third = frame.iter_rows(named=True)
    assert {name: first[name] for name in ("request_id", "user_id", "surface", "bundle_version", "feature_schema")} == {
        "request_id": "r1",
        "user_id": "42",
        "surface": "explore",
        "bundle_version": "v1",
        "feature_schema": "f00d",
    }
    assert frame["request_time"].dt.epoch("ms").to_list() == [NOW_MS] * COUNT
    assert frame["clock_start"].dt.epoch("ms").to_list() == [1_000] * COUNT
    assert (frame["media_id"].to_list(), frame["author_id"].to_list()) == ([100, 101, 102], [1, 2, 3])
    assert (frame["source"].to_list(), frame["seed_account_id"].to_list()) == (["trending"] * 3, [7, None, None])
    assert frame["retrieval_place"].to_list() == [0, 1, 2]
    assert frame["retrieval_score"].to_list() == [pytest.approx(0.9), None, pytest.approx(0.7)]
    for stage in Stage:
        assert frame[f"{stage}_score"].to_list() == [0.5, None, -1.0]
    assert frame["rank_p_like"].to_list() == frame["rerank_p_like"].to_list() == [0.25, None, 0.25]
    assert (frame["position"].to_list(), frame["dropped_at"].to_list()) == (
        [25, None, None],
        [None, "prerank", "diversity"],
    )
    assert frame.schema["features"] == pl.Array(pl.Float32, 2)
    assert np.isnan(first["features"][0])
    assert (first["features"][1], second["features"], third["features"]) == (1.5, None, [1.5, 1.5])


def test_the_wall_clock_starts_nowhere(tmp_path: Path) -> None:
    log = files(tmp_path, requests=1)
    log.add(record())
    assert pl.read_parquet(tmp_path / "*.parquet")["clock_start"].to_list() == [None] * COUNT


scores = st.floats(width=32, allow_infinity=False)


@given(st.lists(st.tuples(scores, scores, scores), min_size=1, max_size=4))
def test_scores_and_features_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]]
) -> None:
    directory = tmp_path_factory.mktemp("funnel")
    log, matrix = files(directory), np.array(rows, np.float32)
    last = judged(matrix[:, 0].copy(), feature=matrix[:, 1:].copy())
    count = len(rows)
    log.add(
        replace(
            record(),
            candidates=candidates([1.0] * count),
            judged={Stage.PRERANK: last, Stage.RANK: last, Stage.RERANK: last},
            position_N=np.full(count, NO_POSITION),
            dropped_at_N=[None] * count,
        )
    )
    log.roll()
    frame = pl.read_parquet(directory / "*.parquet")
    known_N = ~np.isnan(matrix[:, 0])
    np.testing.assert_array_equal(frame["rerank_score"].to_numpy(), matrix[:, 0])
    np.testing.assert_array_equal(frame["features"].is_not_null().to_numpy(), known_N)
    if known_N.any():
        np.testing.assert_array_equal(frame["features"].drop_nulls().to_numpy(), matrix[known_N, 1:])


def test_a_file_is_written_when_it_is_full(tmp_path: Path) -> None:
    log = files(tmp_path, requests=2)
    for number in range(5):
        log.add(record(f"r{number}"))
    assert (len(names(tmp_path)), log.written, log.waiting) == (2, 4, 1)
    log.roll()
    log.roll()
    assert (len(names(tmp_path)), log.written, log.waiting) == (3, 5, 0)
    in_order = [
        pl.read_parquet(tmp_path / name)["request_id"].unique(maintain_order=True).to_list() for name in names(tmp_path)
    ]
    assert in_order == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    assert log.bytes_on_disk == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert files(tmp_path).bytes_on_disk == log.bytes_on_disk  # a gateway that starts again


@pytest.mark.parametrize("other", [record("r2", bundle="v2"), record("r2", features=3)], ids=["bundle", "features"])
def test_a_file_holds_one_bundle_and_one_set_of_features(tmp_path: Path, other: FunnelRecord) -> None:
    log = files(tmp_path)
    for each in (record("r1"), other):
        log.add(each)
    log.roll()
    assert [pl.read_parquet(tmp_path / name)["request_id"].unique().to_list() for name in names(tmp_path)] == [
        ["r1"],
        ["r2"],
    ]


def test_replicas_share_a_directory(tmp_path: Path) -> None:
    for log in (files(tmp_path, 1), files(tmp_path, 1)):
        for number in range(10):
            log.add(record(f"r{number}"))
    assert len(names(tmp_path)) == 20


def test_the_oldest_files_go_and_the_newest_stays(tmp_path: Path) -> None:
    first = files(tmp_path, requests=1)
    first.add(record("r0"))
    size = first.bytes_on_disk
    log = files(tmp_path, requests=1, max_bytes=3 * size + size // 2)
    for number in range(1, 6):
        log.add(record(f"r{number}"))
    kept = [pl.read_parquet(tmp_path / name)["request_id"][0] for name in names(tmp_path)]
    assert kept == ["r3", "r4", "r5"]
    assert log.bytes_on_disk == pytest.approx(3 * size, rel=0.1)
    tiny = files(tmp_path, requests=1, max_bytes=1)
    tiny.add(record("r6"))
    assert [pl.read_parquet(tmp_path / name)["request_id"][0] for name in names(tmp_path)] == ["r6"]


def test_only_the_logs_own_files_are_removed(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for number in range(2):
        (tmp_path / f".funnel-half{number}.parquet.new").write_bytes(b"rows of somebody, by a process that died")
        if number:
            assert files(tmp_path).forget("nobody") == 0
        else:
            files(tmp_path, requests=1, max_bytes=1).add(record())
        assert [name for name in names(tmp_path) if not name.startswith("funnel-")] == ["notes.txt"]


def test_a_broken_disk_costs_entries_and_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = tmp_path / "funnel"
    directory.write_text("a file where the directory should be")
    log = files(directory, requests=1)
    for number in range(3):
        log.add(record(f"r{number}"))
    assert (log.lost, log.written, log.waiting) == (3, 0, 0)
    assert [entry.getMessage() for entry in caplog.records] == [
        "the funnel log cannot be written; requests go unlogged"
    ]
    directory.unlink()
    log.add(record("r3"))
    assert (log.lost, log.written) == (3, 1)


def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    log = files(tmp_path, requests=1)
    log.add(record())
    assert (names(tmp_path), log.lost) == ([], 1)


def test_without_polars_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ConfigError, match=r"EXPLORE_FUNNEL_LOG needs polars; install explore-stack\[serve\]"):
        files(tmp_path)


def of(user_id: str, request_id: str) -> FunnelRecord:
    made = record(request_id)
    return replace(made, request=replace(made.request, user_id=user_id))


def test_a_users_rows_go_from_files_and_from_what_waits(tmp_path: Path) -> None:
    log = files(tmp_path, requests=2)
    for request_id, user_id in (("r1", "42"), ("r2", "43"), ("r3", "42"), ("r4", "42"), ("r5", "42"), ("r6", "43")):
        log.add(of(user_id, request_id))
    log.add(of("42", "r7"))
    mixed, only_theirs, _ = (tmp_path / name for name in names(tmp_path))
    before = pl.read_parquet(mixed).filter(pl.col("user_id") == "43")
    assert log.forget("42") == 5 * COUNT
    assert not only_theirs.exists()
    assert pl.read_parquet(mixed).equals(before, null_equal=True)
    assert (log.waiting, log.forget("42")) == (0, 0)
    assert set(pl.read_parquet(tmp_path / "*.parquet")["request_id"]) == {"r2", "r6"}
    assert log.bytes_on_disk == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_a_file_that_cannot_be_read_is_named_and_a_repeat_finishes(tmp_path: Path) -> None:
    log = files(tmp_path, requests=1)
    log.add(of("42", "r1"))
    broken = tmp_path / "funnel-9.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(OSError, match=r"funnel-9\.parquet cannot be read"):
        log.forget("42")
    broken.unlink()
    assert log.forget("42") == 0


def test_no_log_has_nothing_to_forget(tmp_path: Path) -> None:
    assert files(tmp_path / "nowhere").forget("42") == 0


@pytest.mark.parametrize(
    ("other", "left"),
    [
        pytest.param(lambda log: log.forget("43"), {"r3"}, id="another deletion"),
        pytest.param(lambda log: log.add(of("44", "r4")), {"r4"}, id="the bound"),
    ],
)
def test_what_another_replica_removes_meanwhile_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: Callable[[FunnelFiles], object], left: set[str]
) -> None:
    log, replica = files(tmp_path, requests=3), files(tmp_path, requests=1, max_bytes=1)
    for request_id, user_id in (("r1", "42"), ("r2", "43"), ("r3", "44")):
        log.add(of(user_id, request_id))
    replace_file, about_to_replace, go_on = os.replace, threading.Event(), threading.Event()

    def slowly(source: Path, target: Path) -> None:
        if threading.current_thread() is deletion:
            about_to_replace.set()
            go_on.wait(10)
        replace_file(source, target)

    monkeypatch.setattr("os.replace", slowly)
    deletion = threading.Thread(target=log.forget, args=("42",))
    deletion.start()
    assert about_to_replace.wait(10)
    meanwhile = threading.Thread(target=other, args=(replica,))
    meanwhile.start()
    meanwhile.join(0.5)  # as long as the deletion has the file, it gets no further than to its turn
    go_on.set()
    for thread in (deletion, meanwhile):
        thread.join(10)
    assert set(pl.read_parquet(tmp_path / "*.parquet")["request_id"]) == left


def test_no_two_writers_of_a_file_share_an_unfinished_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, replace_file = files(tmp_path, requests=3), os.replace
    unfinished: list[Path] = []
    for request_id, user_id in (("r1", "42"), ("r2", "43"), ("r3", "44")):
        log.add(of(user_id, request_id))

    def noted(source: Path, target: Path) -> None:
        unfinished.append(source)
        replace_file(source, target)

    monkeypatch.setattr("os.replace", noted)
    for user_id in ("42", "43"):
        files(tmp_path).forget(user_id)
    assert len(set(unfinished)) == 2
    assert all(path.match(".funnel-*.new") for path in unfinished)  # what is removed once it is abandoned

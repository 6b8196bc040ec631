"""The request log: a sample by request id, whole files, and a disk that may fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.user_state import EMPTY
from serving.columns import CandidateColumns, RankBatch
from serving.request_log import RequestLog
from serving.scorer import Scored

SCORED = Scored(np.array([2.0, np.nan], np.float32), None, 1, 2, np.array([[1.0], [np.nan]], np.float32))


def _batch(request_id: str = "r1") -> RankBatch:
    zeros = np.zeros(2, np.int64)
    columns = CandidateColumns(
        np.array([0, 2]),
        np.array([7, 8]),
        zeros + 1,
        zeros,
        zeros.astype(np.uint8),
        np.zeros(2, np.float32),
        ("fresh",),
    )
    return RankBatch(request_id, EMPTY.context("42", 1_000, ""), columns, ({},), np.array([2]), "")


def test_a_logged_request_tells_user_time_media_features_and_scores(tmp_path: Path) -> None:
    RequestLog(tmp_path, "rank", 1.0).write(_batch(), SCORED, ("like",), "v1")
    with np.load(tmp_path / "rank" / "r1.npz", allow_pickle=False) as entry:
        assert (entry["user_id_B"].tolist(), entry["request_time_ms_B"].tolist()) == (["42"], [1_000])
        assert (entry["media_id_N"].tolist(), str(entry["bundle_version"])) == ([7, 8], "v1")
        np.testing.assert_array_equal(entry["score_N"], SCORED.score_N)
        np.testing.assert_array_equal(entry["dense_NF"], SCORED.dense_NF)


@given(st.text(alphabet="0123456789abcdef", min_size=1, max_size=32), st.floats(0, 1))
def test_all_stages_log_the_same_requests(request_id: str, share: float) -> None:
    stages = [RequestLog(Path("unused"), stage, share).wants(request_id) for stage in ("prerank", "rank", "rerank")]
    assert len(set(stages)) == 1


def test_the_share_is_kept() -> None:
    log = RequestLog(Path("unused"), "rank", 0.1)
    assert sum(log.wants(f"request-{number}") for number in range(10_000)) == pytest.approx(1_000, rel=0.15)


@pytest.mark.parametrize("request_id", ["", "../escape", "a/b", "x" * 65, "ü"])
def test_an_id_that_is_no_plain_file_name_is_not_logged(request_id: str) -> None:
    assert not RequestLog(Path("unused"), "rank", 1.0).wants(request_id)


def test_a_forgotten_log_stops_before_the_disk_is_full(tmp_path: Path) -> None:
    log = RequestLog(tmp_path, "rank", 1.0, max_files=1)
    log.write(_batch("r1"), SCORED, (), "v1")
    assert not log.wants("r2")


def test_a_disk_that_fails_costs_the_entry_and_not_the_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rank").write_text("a file where the directory should be")
    RequestLog(tmp_path, "rank", 1.0).write(_batch(), SCORED, (), "v1")
    assert "request not logged" in caplog.text

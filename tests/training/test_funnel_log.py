"""The funnel log as training reads it: whole requests, every fault by file and column, and nothing from after the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from features.dense import FEATURES, FINGERPRINT
from features.item_table import UNKNOWN_ROW
from features.schema import Stage, of_stage
from training.datasets.contract import TIME
from training.distillation import StudentConfig, train_student
from training.errors import DatasetError, FitError
from training.fit import FitConfig
from training.funnel import FunnelSizes
from training.funnel_log import INCOMPLETE, OTHER_FEATURES, TOO_LATE, LoggedSlates, read_funnel_log
from training.metrics import recall_at_k

AS_OF_MS = 1_000_000
WEIGHTS = {"like": 2.0, "negative": -1.0, "save": 8.0}
WIDTH = len(of_stage(FEATURES, Stage.RERANK))
REQUESTS, COUNT = 200, 5
NAN, INF = float("nan"), float("inf")


def rows(requests: int = REQUESTS, count: int = COUNT, first: int = 0, time_ms: int = 500) -> pl.DataFrame:
    """Requests whose values grow with feature 0; the last candidate of each is one that no stage knows."""
    random = np.random.default_rng(first)
    total = requests * count
    unknown_N = np.arange(total) % count == count - 1
    like_N, negative_N = random.random(total).astype(np.float32), random.random(total).astype(np.float32)
    feature_NF = np.full((total, WIDTH), np.nan, np.float32)
    feature_NF[:, 0] = 2 * like_N - negative_N
    constant = {
        "bundle_version": pl.lit("v1"),
        "feature_schema": pl.lit(FINGERPRINT),
        "request_time": pl.lit(time_ms).cast(TIME),
        "clock_start": pl.lit(None).cast(TIME),
    }
    frame = pl.DataFrame(
        {
            "request_id": [f"r{first + number // count}" for number in range(total)],
            "media_id": np.arange(total) % count + 1,
            "rerank_score": like_N,
            "rerank_p_like": like_N,
            "rerank_p_negative": negative_N,
            "features": pl.Series(feature_NF, dtype=pl.Array(pl.Float32, WIDTH)),
        }
    ).with_columns(**constant)
    scored = ("rerank_score", "rerank_p_like", "rerank_p_negative", "features")
    return frame.with_columns(pl.when(~pl.lit(pl.Series(unknown_N))).then(pl.col(name)).alias(name) for name in scored)


def write(directory: Path, *frames: pl.DataFrame) -> Path:
    for number, frame in enumerate(frames):
        frame.write_parquet(directory / f"funnel-{number:02d}.parquet")
    return directory


def read(directory: Path, most: int = 10_000) -> LoggedSlates:
    return read_funnel_log(directory, AS_OF_MS, WEIGHTS, most)


def changed(row: int, column: str, value: Any) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The frame with another value in one row."""

    def change(frame: pl.DataFrame) -> pl.DataFrame:
        here = pl.int_range(pl.len()) == row
        return frame.with_columns(pl.when(here).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))

    return change


def narrow(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with two features only."""
    feature_NF = np.zeros((len(frame), 2), np.float32)
    return frame.with_columns(pl.Series("features", feature_NF, dtype=pl.Array(pl.Float32, 2)))


def test_requests_become_slates_with_features_and_values_as_served(tmp_path: Path) -> None:
    logged = read(write(tmp_path, rows()))
    slates = logged.slates
    assert (len(slates), np.diff(slates.offsets).tolist()) == (REQUESTS, [COUNT - 1] * REQUESTS)
    assert slates.dense_NF.shape == (REQUESTS * (COUNT - 1), len(FEATURES))
    first = FEATURES.index(of_stage(FEATURES, Stage.RERANK)[0])
    np.testing.assert_allclose(slates.dense_NF[:, first], logged.teacher_N, rtol=1e-5)
    assert np.isnan(np.delete(slates.dense_NF, first, axis=1)).all()
    assert (slates.row_N == UNKNOWN_ROW).all()
    assert logged.about() == {"source": "funnel log", "requests": REQUESTS, "bundles": ["v1"], "left_out": {}}


def test_the_student_reads_no_feature_that_the_log_lacks() -> None:
    assert set(of_stage(FEATURES, Stage.PRERANK)) <= set(of_stage(FEATURES, Stage.RERANK))


def test_a_student_learns_from_a_log(tmp_path: Path) -> None:
    """On the log's own slates: what it ranks first is what rerank valued."""
    frame, column = rows(count=30), of_stage(FEATURES, Stage.RERANK).index(of_stage(FEATURES, Stage.PRERANK)[0])
    value_N = (2 * frame["rerank_p_like"] - frame["rerank_p_negative"]).to_numpy()
    feature_NF = np.full((len(frame), WIDTH), np.nan, np.float32)
    feature_NF[:, column] = np.nan_to_num(value_N)
    features = pl.Series("features", feature_NF, dtype=pl.Array(pl.Float32, WIDTH))
    logged = read(write(tmp_path, frame.with_columns(features)))
    config = StudentConfig(fit=FitConfig(epochs=6, learning_rate=1e-2, batch_rows=1000), sizes=FunnelSizes(rank=20))
    student = train_student(config, logged.slates, logged.teacher_N)
    best_BC = logged.slates.padded(logged.teacher_N, -np.inf)
    relevant_BC = best_BC >= -np.sort(-best_BC, axis=1)[:, 4:5]
    score_BC = logged.slates.padded(student.scores(logged.slates), -np.inf)
    assert recall_at_k(relevant_BC, score_BC, 8).mean() > 0.9


def test_bundles_with_other_tasks_are_joined(tmp_path: Path) -> None:
    other = rows(first=REQUESTS).with_columns(pl.lit("v2").alias("bundle_version")).drop("rerank_p_negative")
    logged = read(write(tmp_path, rows(), other))
    assert (logged.bundles, len(logged.slates), len(logged.teacher_N)) == (("v1", "v2"), 400, 1_600)
    likes_N = other["rerank_p_like"].drop_nulls().to_numpy()
    np.testing.assert_allclose(logged.teacher_N[800:], 2 * likes_N)


def test_requests_that_may_not_teach_are_left_out_and_counted(tmp_path: Path) -> None:
    other = rows(3, first=1_000).with_columns(
        pl.lit("0ld").alias("feature_schema"), pl.lit("v0").alias("bundle_version")
    )
    late, lone = rows(2, first=2_000, time_ms=AS_OF_MS + 1), rows(1, count=2, first=3_000)
    at_the_end = rows(1, first=4_000, time_ms=AS_OF_MS)
    logged = read(write(tmp_path, rows(), other, late, lone, at_the_end))
    assert (len(logged.slates), logged.bundles) == (REQUESTS + 1, ("v1",))
    assert logged.left_out == {OTHER_FEATURES: 3, TOO_LATE: 2, INCOMPLETE: 1}


@pytest.mark.parametrize(("start_ms", "kept"), [(AS_OF_MS, 1), (AS_OF_MS + 1, 0)])
def test_on_a_data_clock_the_moment_is_that_at_which_it_began(tmp_path: Path, start_ms: int, kept: int) -> None:
    """A recorded log has no later moment, however long it was served for."""
    replayed = rows(1, first=1_000, time_ms=AS_OF_MS + 86_400_000).with_columns(
        pl.lit(start_ms).cast(TIME).alias("clock_start")
    )
    assert len(read(write(tmp_path, rows(), replayed)).slates) == REQUESTS + kept


def test_only_the_newest_files_are_read(tmp_path: Path) -> None:
    log = write(tmp_path, *(rows(100, first=first) for first in (0, 100, 200, 300)))
    (log / "funnel-00.parquet").write_text("never looked at")
    logged = read(log, most=250)
    assert len(logged.slates) == 300
    np.testing.assert_allclose(logged.teacher_N, read(log, most=300).teacher_N)


def test_a_file_in_the_making_is_none_of_the_log(tmp_path: Path) -> None:
    (write(tmp_path, rows()) / ".funnel-99.parquet.new").write_text("half")
    assert len(read(tmp_path).slates) == REQUESTS


def test_the_digest_is_that_of_names_and_contents(tmp_path: Path) -> None:
    write(tmp_path, rows())
    digest = read(tmp_path).digest
    assert read(tmp_path).digest == digest
    (tmp_path / "funnel-00.parquet").rename(tmp_path / "funnel-01.parquet")
    renamed = read(tmp_path).digest
    rows().with_columns(user_id=pl.lit("someone")).write_parquet(tmp_path / "funnel-01.parquet")
    assert len({digest, renamed, read(tmp_path).digest}) == 3


def test_too_few_requests_say_how_many_there_are_and_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, rows(150), rows(60, first=500, time_ms=AS_OF_MS * 2))
    expected = (
        r"150 requests can teach the student, 200 are needed \(left out: 60 later than the end of the data set\); "
        r"serve more pages, or a larger share of them with EXPLORE_FUNNEL_LOG_SHARE=1"
    )
    with pytest.raises(FitError, match=expected):
        read(tmp_path)


def test_an_empty_directory_has_no_requests(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"0 requests can teach the student, 200 are needed \(left out: none\)"):
        read(tmp_path)


def test_a_directory_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere: there is no such directory"):
        read(tmp_path / "nowhere")


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "funnel-00.parquet").write_text("no parquet")
    with pytest.raises(DatasetError, match=r"funnel-00\.parquet: it is no Parquet file"):
        read(tmp_path)


@pytest.mark.parametrize(
    "column",
    ["request_id", "request_time", "bundle_version", "feature_schema", "media_id", "rerank_score", "features"],
)
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    with pytest.raises(DatasetError, match=rf"funnel-00\.parquet, column {column}: the column is missing"):
        read(write(tmp_path, rows().drop(column)))


def test_missing_probabilities_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="column rerank_p_TASK: the column is missing"):
        read(write(tmp_path, rows().drop("rerank_p_like", "rerank_p_negative")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(7, "request_id", None), "column request_id, row 7: value None: the value is missing"),
        (changed(7, "media_id", 0), "column media_id, row 7: value 0: it is too small"),
        (changed(7, "media_id", 2), "column media_id, row 6: value 2: the request has this media twice"),
        (changed(7, "request_id", "r0"), "column request_id, row 7: value 'r0': the rows of this request do not lie"),
        (changed(7, "rerank_p_like", 1.5), "column rerank_p_like, row 7: value 1.5: it is too large"),
        (changed(7, "rerank_p_like", NAN), "column rerank_p_like, row 7: value nan: it is not a finite number"),
        (changed(7, "rerank_score", INF), "column rerank_score, row 7: value inf: it is not a finite number"),
        (changed(7, "rerank_p_like", None), "column rerank_score, row 7: .*there is no rerank_p_like for a candidate"),
        (changed(7, "features", None), "column rerank_score, row 7: .*there is no features for a candidate"),
        (
            lambda frame: frame.with_columns(frame["features"].arr.eval(pl.element() * INF)),
            "column features, row 0: .*the list holds an infinite number",
        ),
        (
            lambda frame: frame.with_columns(frame["features"].arr.to_list()),
            r"column features: the type is List\(Float32\), the log has fixed-size lists of Float32",
        ),
        (
            narrow,
            rf"column features: the lists hold \(2,\) numbers, {WIDTH} features were declared",
        ),
        (
            lambda frame: frame.with_columns(media_id=pl.lit("x")),
            "column media_id: the type is String, the contract has Int64",
        ),
        (lambda frame: frame.clear(), "it holds no rows"),
    ],
)
def test_a_fault_is_named_by_file_column_and_row(
    tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    with pytest.raises(DatasetError, match=rf"funnel-00\.parquet.*{message}"):
        read(write(tmp_path, change(rows())))


def test_a_request_in_two_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"funnel-00\.parquet, column request_id, row 0: value 'r0': another file has"
    ):
        read(write(tmp_path, rows(), rows()))


def test_features_of_another_release_may_have_another_width(tmp_path: Path) -> None:
    old = rows(first=1_000).with_columns(pl.lit("0ld").alias("feature_schema"))
    logged = read(write(tmp_path, rows(), narrow(old)))
    assert (len(logged.slates), logged.left_out) == (REQUESTS, {OTHER_FEATURES: REQUESTS})

"""Slates out of the funnel log: what the student is taught with is what serving met, features and teacher's scores included.

Reads the Parquet files whose columns `features/funnel_columns.py` names; knows no service. Training on logged values instead of
recomputed ones is how a published system does it (Instagram 2019: the first stage learns from the logged scores of the later ones).

Shapes: N candidates of all slates, B slates, F dense features of the last stage, T tasks of a file.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.dense import FEATURES, FINGERPRINT
from features.funnel_columns import FILE_PREFIX, FILE_SUFFIX, probability_prefix, score_column
from features.funnel_columns import Column as Name
from features.item_table import UNKNOWN_ROW
from features.schema import Stage, of_stage
from training.datasets.conform import conform, refuse
from training.datasets.contract import TIME, Column, Presence, Table
from training.errors import DatasetError, FitError
from training.models.candidate_rows import stage_columns
from training.slates import Slates, join

Float32 = NDArray[np.float32]

MIN_REQUESTS = 200  # fewer leave the student's early stopping a validation set of a handful
_SCORE, _PROBABILITY = score_column(Stage.RERANK), probability_prefix(Stage.RERANK)
_WIDTH = len(of_stage(FEATURES, Stage.RERANK))
_ADVICE = "remove the file, or log again"

OTHER_FEATURES = "of other features than this release has"
TOO_LATE = "later than the end of the data set"
INCOMPLETE = "with fewer than two candidates that rerank scored"


@dataclass(frozen=True)
class LoggedSlates:
    """Logged requests as slates, without item rows and histories: a log holds none, and a student reads none.

    A candidate that rerank did not score is in no slate: it has no features either, since the bundle did not know it.
    """

    slates: Slates
    teacher_N: Float32  # sum(weight * P(task)) by the probabilities of the bundle that served
    bundles: tuple[str, ...]
    left_out: Mapping[str, int]  # requests by reason
    digest: str  # of the names and contents of the files read

    def about(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "source": "funnel log",
            "requests": len(self.slates),
            "bundles": list(self.bundles),
            "left_out": dict(self.left_out),
        }


def read_funnel_log(directory: Path, as_of_ms: int, value_weights: Mapping[str, float], most: int) -> LoggedSlates:
    """The newest requests that a data set ending at `as_of_ms` may know of: about `most`, a whole file at a time.

    Raises DatasetError naming file and column, and FitError when fewer than MIN_REQUESTS requests can teach.
    """
    most = max(most, MIN_REQUESTS)
    if not directory.is_dir():
        raise DatasetError(str(directory), "there is no such directory", "`explore up` logs to HOME/funnel")
    parts: list[_Part] = []
    left_out, digest, seen = Counter[str](), hashlib.sha256(), set[str]()
    for path in sorted(directory.glob(f"{FILE_PREFIX}*{FILE_SUFFIX}"), reverse=True):
        if sum(len(part.slates) for part in parts) >= most:
            break
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # the gateway removes the oldest files
            continue
        digest.update(f"{path.name}\0{len(content)}\0".encode() + hashlib.sha256(content).digest())
        frame = _checked(_parsed(content, path), path, seen)
        parts += _part(_teaching(frame, as_of_ms, left_out), value_weights)
    found = sum(len(part.slates) for part in parts)
    if found < MIN_REQUESTS:
        reasons = "".join(f", {count} {reason}" for reason, count in left_out.items())
        raise FitError(
            f"{directory}: {found} requests can teach the student, {MIN_REQUESTS} are needed (left out: "
            f"{reasons.removeprefix(', ') or 'none'}); serve more pages, or a larger share of them with EXPLORE_FUNNEL_LOG_SHARE=1"
        )
    parts.reverse()  # in the order of time again
    return LoggedSlates(
        slates=join([part.slates for part in parts]),
        teacher_N=np.concatenate([part.teacher_N for part in parts]),
        bundles=tuple(sorted({part.bundle for part in parts})),
        left_out=left_out,
        digest=digest.hexdigest(),
    )


@dataclass(frozen=True)
class _Part:
    slates: Slates
    teacher_N: Float32
    bundle: str


def _parsed(content: bytes, path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(io.BytesIO(content))
    except Exception as error:  # polars raises several kinds for a file that is none
        raise DatasetError(str(path), f"it is no Parquet file: {error}", _ADVICE) from error


def _checked(frame: pl.DataFrame, path: Path, seen: set[str]) -> pl.DataFrame:
    """The columns that training reads, of the types and ranges that serving writes. Adds the file's requests to `seen`."""
    file, tasks = str(path), [name for name in frame.columns if name.startswith(_PROBABILITY)]
    if not tasks:
        raise DatasetError(file, "the column is missing", _ADVICE, column=f"{_PROBABILITY}TASK")
    needed = Presence.REQUIRED
    columns = (
        Column(Name.REQUEST_ID, pl.String(), needed),
        Column(Name.REQUEST_TIME, TIME, needed),
        Column(Name.CLOCK_START, TIME),
        Column(Name.BUNDLE_VERSION, pl.String(), needed),
        Column(Name.FEATURE_SCHEMA, pl.String(), needed),
        Column(Name.MEDIA_ID, pl.Int64(), needed, low=1),
        Column(_SCORE, pl.Float32()),
        *(Column(task, pl.Float32(), low=0, high=1) for task in tasks),
    )
    if _SCORE not in frame.columns:
        raise DatasetError(file, "the column is missing", _ADVICE, column=_SCORE)
    checked = conform(frame, Table("funnel", columns), file).frame.with_columns(_features(frame, file))
    for name in (*tasks, Name.FEATURES):
        lost = checked[name].is_null() & checked[_SCORE].is_not_null()
        refuse(checked[_SCORE], lost, file, f"there is no {name} for a candidate that rerank scored", _ADVICE)
    _check_requests(checked, file, seen)
    return checked


def _features(frame: pl.DataFrame, file: str) -> pl.Series:
    if Name.FEATURES not in frame.columns:
        raise DatasetError(file, "the column is missing", _ADVICE, column=Name.FEATURES)
    series = frame[Name.FEATURES]
    if not isinstance(series.dtype, pl.Array) or series.dtype.inner != pl.Float32:
        reason = f"the type is {series.dtype}, the log has fixed-size lists of Float32"
        raise DatasetError(file, reason, _ADVICE, column=Name.FEATURES)
    mine = frame[Name.FEATURE_SCHEMA] == FINGERPRINT
    if mine.any() and series.dtype.shape != (_WIDTH,):
        reason = f"the lists hold {series.dtype.shape} numbers, {_WIDTH} features were declared"
        raise DatasetError(file, reason, _ADVICE, column=Name.FEATURES)
    infinite = series.arr.eval(pl.element().is_infinite()).arr.any()
    refuse(series, infinite, file, "the list holds an infinite number", _ADVICE)
    return series


def _check_requests(frame: pl.DataFrame, file: str, seen: set[str]) -> None:
    request = frame[Name.REQUEST_ID]
    starts = request != request.shift(1)
    again = starts.fill_null(True) & ~request.is_first_distinct()
    refuse(request, again, file, "the rows of this request do not lie together", _ADVICE)
    twice = frame.select(pl.struct(Name.REQUEST_ID, Name.MEDIA_ID).is_duplicated()).to_series()
    refuse(frame[Name.MEDIA_ID], twice, file, "the request has this media twice", _ADVICE)
    ids = request.unique(maintain_order=True)
    refuse(
        request, request.is_in(ids.filter(ids.is_in(list(seen)))), file, "another file has this request too", _ADVICE
    )
    seen.update(ids)


def _teaching(frame: pl.DataFrame, as_of_ms: int, left_out: Counter[str]) -> pl.DataFrame:
    """The scored candidates of the requests that may teach; counts the others by their reason."""
    # A recorded log has no moment after its end: a request on its clock belongs to the moment at which the clock began.
    moment = pl.coalesce(Name.CLOCK_START, Name.REQUEST_TIME).dt.epoch("ms")
    for reason, wanted in (
        (OTHER_FEATURES, pl.col(Name.FEATURE_SCHEMA) == FINGERPRINT),
        (TOO_LATE, moment <= as_of_ms),
        (INCOMPLETE, pl.col(_SCORE).is_not_null().sum().over(Name.REQUEST_ID) >= 2),
    ):
        kept = frame.filter(wanted)
        if lost := frame[Name.REQUEST_ID].n_unique() - kept[Name.REQUEST_ID].n_unique():
            left_out[reason] += lost
        frame = kept
    return frame.filter(pl.col(_SCORE).is_not_null())


def _part(frame: pl.DataFrame, value_weights: Mapping[str, float]) -> list[_Part]:
    """One part per bundle in the file."""
    return [_slates(rows, value_weights) for rows in frame.partition_by(Name.BUNDLE_VERSION, maintain_order=True)]


def _slates(frame: pl.DataFrame, value_weights: Mapping[str, float]) -> _Part:
    count_B = frame[Name.REQUEST_ID].rle().struct.field("len").to_numpy()
    dense_NF = np.full((len(frame), len(FEATURES)), np.nan, dtype=np.float32)
    dense_NF[:, stage_columns(Stage.RERANK)] = frame[Name.FEATURES].to_numpy()
    tasks = [name for name in frame.columns if name.startswith(_PROBABILITY)]
    weight_T = np.array([value_weights.get(name.removeprefix(_PROBABILITY), 0.0) for name in tasks], dtype=np.float32)
    slates = Slates(
        offsets=np.append(0, np.cumsum(count_B)).astype(np.int64),
        dense_NF=dense_NF,
        row_N=np.full(len(frame), UNKNOWN_ROW, dtype=np.int64),
        history_row_BL=np.zeros((len(count_B), 0), dtype=np.int32),
        history_action_BL=np.zeros((len(count_B), 0), dtype=np.uint8),
        history_age_ms_BL=np.zeros((len(count_B), 0), dtype=np.int64),
        related_row_NS=np.zeros((len(frame), 0), dtype=np.int32),
        related_action_NS=np.zeros((len(frame), 0), dtype=np.uint8),
        related_age_hours_NS=np.zeros((len(frame), 0), dtype=np.float32),
    )
    teacher_N = (frame.select(tasks).to_numpy() @ weight_T).astype(np.float32)
    return _Part(slates, teacher_N, frame[Name.BUNDLE_VERSION][0])

"""The funnel log on disk: Parquet files that appear whole, never collide between replicas, and stay within a bound.

Knows the disk and the columns; knows neither stages nor the event loop: one worker thread calls it. A full or broken disk costs log
entries and one warning, never a request. Who changes the directory holds its lock: another replica may be at the same file.
Shapes: N candidates of one request.
"""

from __future__ import annotations

import io
import logging
import os
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bundles.disk import exclusive
from features.funnel_columns import FILE_PREFIX, FILE_SUFFIX, Column, probability_prefix, score_column
from features.schema import Stage
from gateway.feed import FeedRequest
from gateway.funnel_pass import Judged
from serving.columns import CandidateColumns, Int64
from serving.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

_log = logging.getLogger(__name__)

_UNFINISHED = ".new"
NO_POSITION = -1


@dataclass(frozen=True)
class FunnelRecord:
    """One logged request: all its candidates, in the order of retrieval."""

    request: FeedRequest
    bundle_version: str
    clock_start_ms: int | None
    candidates: CandidateColumns
    judged: dict[Stage, Judged]
    position_N: Int64  # on the page, NO_POSITION for those that are not on it
    dropped_at_N: list[str | None]

    @property
    def columns(self) -> tuple[object, ...]:
        """What must be equal for two requests to share a file."""
        last = self.judged[Stage.RERANK]
        width = 0 if last.feature_NF is None else last.feature_NF.shape[1]
        return self.bundle_version, last.feature_schema, width, *(judged.tasks for judged in self.judged.values())


@dataclass(frozen=True)
class FilesConfig:
    """Where the files lie, how much of the disk they may take, and how many requests one of them holds."""

    directory: Path
    max_bytes: int
    requests: int


class FunnelFiles:
    """Collects requests and writes them, a file at a time. Counts what was written and what was lost."""

    def __init__(self, config: FilesConfig) -> None:
        """Raises ConfigError if polars is not installed: better at the start than at the first page."""
        try:
            import polars as pl
        except ImportError:
            raise ConfigError("EXPLORE_FUNNEL_LOG needs polars; install explore-stack[serve], or unset it") from None
        self._pl, self._config = pl, config
        self._waiting: list[FunnelRecord] = []
        self._broken = False
        self.written = self.lost = 0
        self.bytes_on_disk = sum(self._sizes().values())

    @property
    def waiting(self) -> int:
        """Requests that are in no file yet."""
        return len(self._waiting)

    def add(self, record: FunnelRecord) -> None:
        """Takes one request; writes a file when there are enough of them, or when this one has other columns."""
        if self._waiting and self._waiting[0].columns != record.columns:
            self.roll()
        self._waiting.append(record)
        if len(self._waiting) >= self._config.requests:
            self.roll()

    def roll(self) -> None:
        """Writes what waits as one file, and removes the oldest files beyond the bound."""
        records, self._waiting = self._waiting, []
        if not records:
            return
        content = io.BytesIO()
        self._pl.concat([self._frame(record) for record in records]).write_parquet(content, compression="zstd")
        try:
            self._config.directory.mkdir(parents=True, exist_ok=True)
            with exclusive(self._config.directory):
                self._write(content.getvalue(), _file_name())
                self._trim()
        except OSError as error:
            self.lost += len(records)
            if not self._broken:
                _log.warning("the funnel log cannot be written; requests go unlogged", extra={"error": str(error)})
            self._broken = True
        else:
            self.written += len(records)
            self._broken = False

    def forget(self, user_id: str) -> int:
        """Removes the rows of a user, those that wait and those in files, and returns how many there were.

        A file is replaced as a whole, or goes if nothing else is in it. Raises OSError if one cannot be read or written; those
        before it are done.
        """
        waiting = [record for record in self._waiting if record.request.user_id != user_id]
        removed = sum(len(record.candidates) for record in self._waiting) - sum(
            len(each.candidates) for each in waiting
        )
        self._waiting = waiting
        for path in self._sizes():
            with exclusive(self._config.directory):  # for one file at a time: others wait for moments only
                removed += self._forget_in(path, user_id)
        if self._unfinished():
            with exclusive(self._config.directory):
                self._tidy()
        self.bytes_on_disk = sum(self._sizes().values())
        return removed

    def _forget_in(self, path: Path, user_id: str) -> int:
        pl, content = self._pl, io.BytesIO()
        theirs = pl.col(Column.USER_ID) == user_id
        try:
            removed = int(pl.scan_parquet(path, glob=False).filter(theirs).select(pl.len()).collect().item())
            kept = pl.read_parquet(path, glob=False).filter(~theirs) if removed else None
        except FileNotFoundError:
            return 0  # another replica removed it
        except pl.exceptions.PolarsError as error:
            raise OSError(f"{path} cannot be read: {error}") from error
        if kept is None:
            return 0
        if kept.is_empty():
            path.unlink(missing_ok=True)
        else:
            kept.write_parquet(content, compression="zstd")
            self._write(content.getvalue(), path.name)
        return removed

    def _write(self, content: bytes, name: str) -> None:
        unfinished = self._config.directory / f".{name}.{secrets.token_hex(8)}{_UNFINISHED}"
        try:
            unfinished.write_bytes(content)
            os.replace(unfinished, self._config.directory / name)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise

    def _trim(self) -> None:
        """The bound holds for the directory, whoever wrote the files; the newest one always stays."""
        sizes = self._sizes()
        total = sum(sizes.values())
        for path in list(sizes)[:-1]:
            if total <= self._config.max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= sizes[path]
        self._tidy()
        self.bytes_on_disk = total

    def _tidy(self) -> None:
        """Removes what crashes left. Whoever writes holds the lock, so to the one that holds it no unfinished file is anybody's."""
        for path in self._unfinished():
            path.unlink(missing_ok=True)

    def _unfinished(self) -> list[Path]:
        return list(self._config.directory.glob(f".{FILE_PREFIX}*{_UNFINISHED}"))

    def _sizes(self) -> dict[Path, int]:
        """Of the finished files, the oldest first."""
        found = sorted(self._config.directory.glob(f"{FILE_PREFIX}*{FILE_SUFFIX}"))
        return {path: size for path in found if (size := _size(path)) is not None}

    def _frame(self, record: FunnelRecord) -> pl.DataFrame:
        pl, columns, request = self._pl, record.candidates, record.request
        count, last = len(columns), record.judged[Stage.RERANK]
        moment = pl.Datetime("ms", "UTC")
        same: dict[str, tuple[object, Any]] = {
            Column.REQUEST_ID: (request.request_id, pl.String()),
            Column.USER_ID: (request.user_id, pl.String()),
            Column.REQUEST_TIME: (request.time_ms, moment),
            Column.CLOCK_START: (record.clock_start_ms, moment),
            Column.SURFACE: (request.surface, pl.String()),
            Column.BUNDLE_VERSION: (record.bundle_version, pl.String()),
            Column.FEATURE_SCHEMA: (last.feature_schema, pl.String()),
        }
        source = [columns.source(row) for row in range(count)]
        series = [
            *(pl.Series(name, [value], dtype=dtype).new_from_index(0, count) for name, (value, dtype) in same.items()),
            pl.Series(Column.MEDIA_ID, columns.media_id_N),
            pl.Series(Column.AUTHOR_ID, columns.author_id_N),
            pl.Series(Column.SOURCE, source, dtype=pl.String()),
            self._nullable(Column.SEED_ACCOUNT_ID, columns.seed_account_id_N, columns.seed_account_id_N == 0),
            pl.Series(Column.RETRIEVAL_PLACE, np.arange(count, dtype=np.int32)),
            self._nullable(Column.RETRIEVAL_SCORE, columns.score_N, np.isnan(columns.score_N)),
            *(part for stage, judged in record.judged.items() for part in self._judged(stage, judged)),
            self._nullable(Column.POSITION, record.position_N.astype(np.int32), record.position_N == NO_POSITION),
            pl.Series(Column.DROPPED_AT, record.dropped_at_N, dtype=pl.String()),
            self._features(last),
        ]
        return pl.DataFrame(series)

    def _judged(self, stage: Stage, judged: Judged) -> list[pl.Series]:
        unscored_N, prefix = np.isnan(judged.score_N), probability_prefix(stage)
        return [
            self._nullable(score_column(stage), judged.score_N, unscored_N),
            *(
                self._nullable(prefix + task, judged.probability_NT[:, t], unscored_N)
                for t, task in enumerate(judged.tasks)
            ),
        ]

    def _features(self, judged: Judged) -> pl.Series:
        """A fixed-size list per candidate: NaN where a value is missing, null where the stage gave no score."""
        assert judged.feature_NF is not None  # `FunnelLog` logs no request without
        pl, feature_NF = self._pl, judged.feature_NF
        series = pl.Series(Column.FEATURES, feature_NF, dtype=pl.Array(pl.Float32, feature_NF.shape[1]))
        return series.to_frame().select(self._known(~np.isnan(judged.score_N), Column.FEATURES)).to_series()

    def _nullable(self, name: str, value_N: NDArray[Any], missing_N: NDArray[np.bool_]) -> pl.Series:
        series = self._pl.Series(name, np.ascontiguousarray(value_N))
        return series.to_frame().select(self._known(~missing_N, name)).to_series()

    def _known(self, known_N: NDArray[np.bool_], name: str) -> pl.Expr:
        pl = self._pl
        return pl.when(pl.lit(pl.Series(known_N))).then(pl.col(name)).otherwise(None).alias(name)


def _file_name() -> str:
    """Names sort by the time of writing, and no two writers make the same."""
    moment = datetime.fromtimestamp(time.time(), UTC)
    return f"{FILE_PREFIX}{moment:%Y%m%dT%H%M%S%f}-{secrets.token_hex(8)}{FILE_SUFFIX}"


def _size(path: Path) -> int | None:
    """None if another replica removed the file in between."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None

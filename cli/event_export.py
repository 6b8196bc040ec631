"""Exports archived events as Parquet files in the format of the data contract's `events`, each event of a user once.

<directory>/events-000001.parquet, ...   one file per export that found something, each in the order of time
<directory>/export.json                  how far the archive was read, per shard

A file appears whole. It appears before export.json says so: after a crash in between, the next export reads the same entries again
and finds them in the file. Beside the contract's columns a file has `event_id`, `device_time`, `bundle_version`, `arms` (JSON,
layer to arm) and `arm_propensity`, which off-policy evaluation needs.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from valkey import Valkey

from cli.archive import Entry, ShardEnd, archived_entries, order, shard_end
from cli.errors import CommandError
from cli.progress import Report
from features.actions import action_name
from features.event_archive import SHARDS
from training.datasets.contract import EVENTS, TIME

FILES = "events-*.parquet"
_STATE = "export.json"
_KEY = ["user_id", "event_id"]
_SCHEMA = {column.name: column.dtype for column in EVENTS.columns} | {
    "event_id": pl.String(),
    "device_time": TIME,
    "bundle_version": pl.String(),
    "arms": pl.String(),
    "arm_propensity": pl.Float64(),
}
_MOST_FLOAT32 = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Exported:
    """What one export found."""

    events: int
    duplicates: int  # entries of events that were exported already, or came twice
    missing: int  # entries that were added since the last export, and are gone
    file: Path | None  # None if there was nothing new


def export_events(client: Valkey, directory: Path, report: Report) -> Exported:
    """Writes what was archived since the last export to `directory`. `report` gets (shards read, all).

    Raises CommandError while another export writes there, or if what lies there is no export.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        before, ends, frames, missing = _read_state(directory), {}, [_frame([])], 0
        for shard in range(SHARDS):
            end, start = shard_end(client, shard), before.get(shard, ShardEnd())
            if order(end.last) < order(start.last) or end.added < start.added:
                start = ShardEnd()  # another Valkey than last time; what was exported already is told by its ids
            pages = [_frame(page) for page in archived_entries(client, shard, start.last, end.last)]
            missing += end.added - start.added - sum(len(page) for page in pages)
            frames += pages
            ends[shard] = end
            report(shard + 1, SHARDS)
        found = pl.concat(frames)
        fresh = found.unique(_KEY, keep="first", maintain_order=True).join(_known(directory), on=_KEY, how="anti")
        file = None
        if len(fresh):
            file = directory / f"events-{_next_number(directory):06d}.parquet"
            _write(file, fresh.sort("event_time", maintain_order=True))
        _write_state(directory, ends)
    return Exported(len(fresh), len(found) - len(fresh), missing, file)


def exported_events(directory: Path) -> pl.DataFrame:
    """All events of an export, with the contract's columns only. Raises CommandError if there are none."""
    files = sorted(directory.glob(FILES))
    if not files:
        raise CommandError(f"no exported events in {directory}", "`explore events export` writes them")
    names = [column.name for column in EVENTS.columns]
    return pl.concat([pl.read_parquet(file, columns=names, glob=False) for file in files])


def forget_exported(directory: Path, user_id: str) -> int:
    """Removes a user's events from an export; returns how many. Files are replaced as a whole, or go with their last event."""
    if not directory.is_dir():
        raise CommandError(f"there is no export in {directory}", "name the directory of `explore events export`")
    removed = 0
    with _alone(directory):
        for file in sorted(directory.glob(FILES)):
            events = pl.read_parquet(file, glob=False)
            kept = events.filter(pl.col("user_id") != user_id)
            if len(kept) < len(events):
                removed += len(events) - len(kept)
                if kept.is_empty():
                    file.unlink()
                else:
                    _write(file, kept)
    return removed


def _frame(entries: list[Entry]) -> pl.DataFrame:
    rows = [
        {
            "user_id": event.user_id,
            "media_id": event.media_id,
            "author_id": event.author_id,
            "event_time": event.time_ms,
            "action": action_name(event.action),
            "value": None if event.value is None else min(event.value, _MOST_FLOAT32),
            "request_id": event.request_id or None,
            "position": event.position,
            "surface": event.surface or None,
            # The contract has no propensity of 0: nothing that was shown had one.
            "propensity": cause.propensity if cause.propensity is not None and 0 < cause.propensity <= 1 else None,
            "event_id": event.event_id,
            "device_time": event.device_time_ms,
            "bundle_version": cause.bundle_version or None,
            "arms": json.dumps(dict(cause.arms), sort_keys=True) if cause.arms else None,
            "arm_propensity": cause.arm_propensity,
        }
        for _, (event, cause) in entries
    ]
    return pl.DataFrame(
        {name: pl.Series(name, [row[name] for row in rows], dtype=_stored(dtype)) for name, dtype in _SCHEMA.items()}
    ).cast(_SCHEMA)  # type: ignore[arg-type]


def _stored(dtype: pl.DataType) -> pl.DataType:
    """Times come as milliseconds since the epoch."""
    return pl.Int64() if dtype == TIME else dtype


def _known(directory: Path) -> pl.DataFrame:
    files = sorted(directory.glob(FILES))
    empty = pl.DataFrame(schema={name: pl.String() for name in _KEY})
    return pl.concat([empty, *(pl.read_parquet(file, columns=_KEY, glob=False) for file in files)])


def _next_number(directory: Path) -> int:
    numbers = [int(file.stem.removeprefix("events-")) for file in directory.glob(FILES)]
    return max(numbers, default=0) + 1


def _read_state(directory: Path) -> dict[int, ShardEnd]:
    file = directory / _STATE
    if not file.exists():
        return {}
    try:
        return {int(shard): ShardEnd(**end) for shard, end in json.loads(file.read_text("utf-8"))["shards"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"{file} is not from an export", "export to another directory") from error


def _write_state(directory: Path, ends: dict[int, ShardEnd]) -> None:
    state = {"shards": {shard: asdict(end) for shard, end in ends.items()}}
    _replace(directory / _STATE, (json.dumps(state, indent=2) + "\n").encode())


def _write(file: Path, events: pl.DataFrame) -> None:
    content = io.BytesIO()
    events.write_parquet(content, compression="zstd")
    _replace(file, content.getvalue())


def _replace(file: Path, content: bytes) -> None:
    """The archive may drop what was exported, so it must be on disk before it is called exported."""
    unfinished = file.with_name(f".{file.name}.new")
    with unfinished.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    os.replace(unfinished, file)


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    with (directory / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(f"another command writes to {directory}", "wait until it has ended") from None
        yield

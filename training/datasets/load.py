"""Reads a data set and checks all of it, so that no later step has to. Knows the contract; writes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from training.datasets.conform import conform
from training.datasets.contract import CONTRACT_VERSION, EVENTS, INFO_FILE, MEDIA, TABLES, USERS
from training.datasets.references import check_references
from training.errors import DatasetError


@dataclass(frozen=True)
class Dataset:
    """Three conformed tables, events in time order. `as_of_ms` is the end of the log: no event is at or after it."""

    users: pl.DataFrame
    media: pl.DataFrame
    events: pl.DataFrame
    as_of_ms: int
    name: str
    root: Path | None = None  # None: not on disk yet
    created_by: str | None = None  # the command that made it
    seed: int | None = None
    warnings: tuple[str, ...] = ()  # what was kept out or repaired on the way in


def load(path: Path | str) -> Dataset:
    """The data set in the directory `path`. Raises DatasetError naming file, column, row, value and remedy."""
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(str(root), "there is no such directory", "import or simulate a data set first")
    frames = {table.name: _read(root / table.file) for table in TABLES}
    info = _read_info(root / INFO_FILE)
    _check_counts(info, frames, root)
    return checked(
        frames["users"],
        frames["media"],
        frames["events"],
        name=str(info.get("name", root.name)),
        as_of_ms=info.get("as_of_ms"),
        root=root,
        created_by=info.get("created_by"),
        seed=info.get("seed"),
        warnings=() if info else (f"{INFO_FILE} is missing: the log is taken to end with its last event",),
    )


def checked(
    users: pl.DataFrame,
    media: pl.DataFrame,
    events: pl.DataFrame,
    *,
    name: str,
    as_of_ms: int | None = None,
    root: Path | None = None,
    created_by: str | None = None,
    seed: int | None = None,
    warnings: tuple[str, ...] = (),
) -> Dataset:
    """Frames as a Dataset: conformed, cross-checked, events stably sorted by time. Raises DatasetError.

    `as_of_ms` defaults to one millisecond after the last event. Messages name the files below `root`, or bare file names.
    """
    place = {table.name: str(root / table.file) if root else table.file for table in TABLES}
    found = [
        conform(frame, table, place[table.name]) for frame, table in ((users, USERS), (media, MEDIA), (events, EVENTS))
    ]
    notes = [
        f"{place[table.name]}: column {column} is not in the contract and was left out"
        for table, conformed in zip(TABLES, found, strict=True)
        for column in conformed.ignored
    ]
    users, media, events = (conformed.frame for conformed in found)
    check_references(users, media, events, place["events"])
    if not events["event_time"].is_sorted():
        notes.append(f"{place['events']}: the events were not in time order and were sorted")
        events = events.sort("event_time", maintain_order=True)
    end_ms = _check_end(events, as_of_ms, root)
    return Dataset(users, media, events, end_ms, name, root, created_by, seed, (*warnings, *notes))


def _check_end(events: pl.DataFrame, as_of_ms: int | None, root: Path | None) -> int:
    last_ms = int(events["event_time"].dt.epoch("ms")[-1])
    if as_of_ms is not None and as_of_ms <= last_ms:
        file = str(root / INFO_FILE) if root else INFO_FILE
        reason = f"as_of_ms {as_of_ms} is not after the last event ({last_ms})"
        raise DatasetError(file, reason, f"write {last_ms + 1} or later", column="as_of_ms")
    return last_ms + 1 if as_of_ms is None else as_of_ms


def _read(file: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(file, glob=False)
    except FileNotFoundError:
        raise DatasetError(str(file), "the file is missing", "write it, or import the data set again") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = f"it is no readable Parquet file ({error})"
        raise DatasetError(str(file), reason, "write it again") from error


def _read_info(file: Path) -> dict[str, Any]:
    """The content of dataset.json, or nothing where a team brought Parquet files only."""
    if not file.exists():
        return {}
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(str(file), f"it is no JSON ({error})", "write it again, or remove it") from error
    if not isinstance(info, dict):
        raise DatasetError(str(file), "it is no JSON object", "write it again, or remove it")
    if info.get("contract_version") != CONTRACT_VERSION:
        reason = f"contract_version is {info.get('contract_version')!r}, this software reads {CONTRACT_VERSION}"
        raise DatasetError(str(file), reason, "import the data set again", column="contract_version")
    for field in ("as_of_ms", "seed"):
        if type(info.get(field, 0)) not in (int, type(None)):
            raise DatasetError(str(file), f"{info[field]!r} is no integer", "write epoch milliseconds", column=field)
    return info


def _check_counts(info: Mapping[str, Any], frames: Mapping[str, pl.DataFrame], root: Path) -> None:
    counts = info.get("rows")
    for name, count in counts.items() if isinstance(counts, dict) else ():
        if name in frames and len(frames[name]) != count:
            reason = f"it holds {len(frames[name])} rows, {INFO_FILE} counts {count}"
            raise DatasetError(str(root / f"{name}.parquet"), reason, "copy or import the data set again")

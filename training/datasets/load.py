"""Reads a data set and checks all of it, so that no later step has to. Knows the contract; writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from training.datasets.conform import conform
from training.datasets.contract import CONTRACT_VERSION, EVENTS, INFO_FILE, MEDIA, TABLES, USERS
from training.datasets.lineage import Origin, origins
from training.datasets.references import check_references
from training.errors import DatasetError

_LARGEST = 2**63 - 1  # of what becomes an integer column

NO_INFO = f"{INFO_FILE} is missing: the log is taken to end with its last event"


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
    made_from: tuple[
        Origin, ...
    ] = ()  # data sets of the same users that were merged with later events, the first one first


def load(path: Path | str) -> Dataset:
    """The data set in the directory `path`. Raises DatasetError naming file, column, row, value and remedy."""
    root = existing(path)
    frames = {table.name: read_table(root / table.file) for table in TABLES}
    info = read_info(root / INFO_FILE)
    check_counts(info, {name: len(frame) for name, frame in frames.items()}, root)
    dataset = checked(
        frames["users"],
        frames["media"],
        frames["events"],
        name=str(info.get("name", root.name)),
        as_of_ms=info.get("as_of_ms"),
        root=root,
        created_by=info.get("created_by"),
        seed=info.get("seed"),
        warnings=() if info else (NO_INFO,),
    )
    return replace(dataset, made_from=origins(info, root / INFO_FILE))


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
    notes = [note for table, of in zip(TABLES, found, strict=True) for note in left_out(of.ignored, place[table.name])]
    users, media, events = (conformed.frame for conformed in found)
    check_references(users, media, events, place["events"])
    if not events["event_time"].is_sorted():
        notes.append(sorted_note(place["events"]))
        events = events.sort("event_time", maintain_order=True)
    end_ms = check_end(int(events["event_time"].dt.epoch("ms")[-1]), as_of_ms, root)
    return Dataset(users, media, events, end_ms, name, root, created_by, seed, (*warnings, *notes))


def existing(path: Path | str) -> Path:
    """The directory of a data set. Raises DatasetError if it is none."""
    root = Path(path)
    if not root.is_dir():
        raise DatasetError(str(root), "there is no such directory", "import or simulate a data set first")
    return root


def left_out(columns: Iterable[str], file: str) -> list[str]:
    """What is said of columns that the contract does not know."""
    return [f"{file}: column {column} is not in the contract and was left out" for column in columns]


def sorted_note(file: str) -> str:
    """What is said of events that were not in time order."""
    return f"{file}: the events were not in time order and were sorted"


def check_end(last_ms: int, as_of_ms: int | None, root: Path | None) -> int:
    """The end of a log whose last event was at `last_ms`. Raises DatasetError if the data set says it ended before."""
    if as_of_ms is not None and as_of_ms <= last_ms:
        file = str(root / INFO_FILE) if root else INFO_FILE
        reason = f"as_of_ms {as_of_ms} is not after the last event ({last_ms})"
        raise DatasetError(file, reason, f"write {last_ms + 1} or later", column="as_of_ms")
    return last_ms + 1 if as_of_ms is None else as_of_ms


def read_table(file: Path, rows: slice | None = None) -> pl.DataFrame:
    """The table in a file, or some of its rows. Raises DatasetError for a file that is missing or damaged."""
    with _said_of(file):
        lazy = pl.scan_parquet(file, glob=False)
        return lazy.collect() if rows is None else lazy.slice(rows.start, rows.stop - rows.start).collect()


def count_rows(file: Path) -> int:
    """How many rows a file holds. Raises DatasetError as `read_table` does."""
    with _said_of(file):
        return int(pl.scan_parquet(file, glob=False).select(pl.len()).collect().item())


@contextmanager
def _said_of(file: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DatasetError(str(file), "the file is missing", "write it, or import the data set again") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = f"it is no readable Parquet file ({error})"
        raise DatasetError(str(file), reason, "write it again") from error


def read_info(file: Path) -> dict[str, Any]:
    """The content of dataset.json, or nothing where a team brought Parquet files only. Raises DatasetError for a broken one."""
    if not file.exists():
        return {}
    try:
        info = json.loads(file.read_text(encoding="utf-8-sig"))  # may begin with a mark that nobody sees
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
        if abs(info.get(field) or 0) > _LARGEST:
            raise DatasetError(
                str(file), f"{info[field]} needs more than 64 bits", "write a smaller number", column=field
            )
    return info


def check_counts(info: Mapping[str, Any], rows: Mapping[str, int], root: Path) -> None:
    """Raises DatasetError for a table that holds more or fewer rows than the data set says."""
    counts = info.get("rows")
    for name, count in counts.items() if isinstance(counts, dict) else ():
        if name in rows and rows[name] != count:
            reason = f"it holds {rows[name]} rows, {INFO_FILE} counts {count}"
            raise DatasetError(str(root / f"{name}.parquet"), reason, "copy or import the data set again")

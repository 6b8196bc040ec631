"""Reads a data set for training without ever holding its events whole: part by part into the columns of an `EventLog`.

The checks are those of `training.datasets.load`, in the same words. Where several values break the contract, the one in the
earliest part of the file is named, not the one in the earliest column.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from training.columns import Scratch, chunks
from training.datasets.conform import Conformed, conform
from training.datasets.contract import EVENTS, INFO_FILE, MEDIA, USERS
from training.datasets.load import (
    NO_INFO,
    check_counts,
    check_end,
    count_rows,
    existing,
    left_out,
    read_info,
    read_table,
    sorted_note,
)
from training.datasets.references import check_references
from training.errors import DatasetError
from training.event_log import EventLog
from training.progress import Progress


@dataclass(frozen=True)
class StoredLog:
    """A data set to train on: what `training.datasets.Dataset` is, with the events as a log."""

    users: pl.DataFrame
    media: pl.DataFrame
    log: EventLog
    as_of_ms: int  # no event is at or after it
    name: str
    digest: str  # of the events' rows in the order of the file
    warnings: tuple[str, ...]  # what was kept out or repaired on the way in


def read_log(path: Path | str, scratch: Scratch | None = None, progress: Progress | None = None) -> StoredLog:
    """The data set in the directory `path`, all of it checked. `progress` gets (events read, all).

    Raises DatasetError naming file, column, row, value and remedy.
    """
    root = existing(path)
    info = read_info(root / INFO_FILE)
    users, media = read_table(root / USERS.file), read_table(root / MEDIA.file)
    events = _Events(root / EVENTS.file, count_rows(root / EVENTS.file), progress)
    check_counts(info, {USERS.name: len(users), MEDIA.name: len(media), EVENTS.name: events.rows}, root)
    of_users, of_media = conform(users, USERS, str(root / USERS.file)), conform(media, MEDIA, str(root / MEDIA.file))
    user_ids = tuple(of_users.frame["user_id"].sort().to_list())
    parts = events.parts(of_users, of_media)
    log = EventLog.from_parts(parts, events.rows, user_ids, of_media.frame, scratch)
    notes = [] if info else [NO_INFO]
    for ignored, file in (
        (of_users.ignored, USERS.file),
        (of_media.ignored, MEDIA.file),
        (events.ignored, EVENTS.file),
    ):
        notes += left_out(ignored, str(root / file))
    if not events.in_order:
        notes.append(sorted_note(str(events.file)))
    end_ms = check_end(int(log.time_ms_E[-1]), info.get("as_of_ms"), root)
    name = str(info.get("name", root.name))
    return StoredLog(of_users.frame, of_media.frame, log, end_ms, name, events.digest.hexdigest(), tuple(notes))


@dataclass
class _Events:
    """The events file, and what is found out about it while it is read."""

    file: Path
    rows: int
    progress: Progress | None
    ignored: tuple[str, ...] = ()
    in_order: bool = True
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def parts(self, users: Conformed, media: Conformed) -> Iterator[pl.DataFrame]:
        """The checked events, part by part."""
        last = None
        for of in chunks(0, max(self.rows, 1)):
            try:
                conformed = conform(read_table(self.file, of), EVENTS, str(self.file))
                part = conformed.frame
                check_references(users.frame, media.frame, part, str(self.file))
            except DatasetError as error:
                raise error.in_part(of.start) from None
            time = part["event_time"]
            self.in_order &= time.is_sorted() and (last is None or last <= time[0])
            last, self.ignored = time[-1], conformed.ignored
            self.digest.update(part.hash_rows(seed=0).to_numpy().tobytes())
            yield part
            if self.progress is not None:
                self.progress(of.stop, self.rows)

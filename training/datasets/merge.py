"""A data set and events that were logged after it, as one. Knows frames in the contract's format; touches no file."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from training.datasets.contract import EVENTS
from training.datasets.load import Dataset

SAME_EVENT = ["user_id", "media_id", "event_time", "action"]  # an event that the log and the archive both have


def with_events(dataset: Dataset, events: pl.DataFrame) -> Dataset:
    """The data set with `events` (the contract's columns) in its log, which ends no earlier than before.

    Users that the data set lacks are added, without attributes. Events of unknown media, or under another author, cannot be used;
    how many were left out is in `warnings`. Events that the log has already are left out too, so merging again changes nothing.
    """
    media = dataset.media.select("media_id", owner="author_id")
    known = events.join(media, on="media_id", how="inner", maintain_order="left")
    usable = known.filter(pl.col("author_id") == pl.col("owner")).drop("owner")
    notes = []
    if len(known) < len(events):
        notes.append(f"{len(events) - len(known)} events were left out: the media table lacks their media")
    if len(usable) < len(known):
        notes.append(f"{len(known) - len(usable)} events were left out: their media has another author")
    fresh = usable.join(dataset.events, on=SAME_EVENT, how="anti").select([column.name for column in EVENTS.columns])
    strangers = fresh.select("user_id").unique(maintain_order=True).join(dataset.users, on="user_id", how="anti")
    log = pl.concat([dataset.events, fresh]).sort("event_time", maintain_order=True)
    return replace(
        dataset,
        users=pl.concat([dataset.users, strangers], how="diagonal"),
        events=log,
        as_of_ms=max(dataset.as_of_ms, int(log["event_time"].dt.epoch("ms")[-1]) + 1),
        root=None,
        warnings=(*dataset.warnings, *notes),
    )

"""Small datasets for the tests of the log-based steps of training: hand-made events, and users with planted tastes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from features.actions import Action, action_name
from features.item_table import ItemTable
from training.datasets import Dataset, checked
from training.datasets.contract import TIME
from training.event_log import EventLog
from training.snapshots import ItemTables, ItemVectors

START = 1_760_000_000_000
MINUTE = 60_000
HOUR = 60 * MINUTE


@dataclass(frozen=True)
class Event:
    """One event; `minute` counts from START, and media item m is authored by account m // 10."""

    user: str
    media: int
    action: Action
    minute: float
    request: str | None = None
    position: int | None = None


def dataset(events: list[Event], media: dict[int, str | None], users: pl.DataFrame | None = None) -> Dataset:
    """The events with `media` (id -> topic, created at START) and users without profiles."""
    ids = sorted({event.user for event in events})
    frame = pl.DataFrame(
        {
            "user_id": [event.user for event in events],
            "media_id": [event.media for event in events],
            "author_id": [event.media // 10 for event in events],
            "event_time": [START + round(event.minute * MINUTE) for event in events],
            "action": [action_name(event.action) for event in events],
            "request_id": pl.Series([event.request for event in events], dtype=pl.String),
            "position": pl.Series([event.position for event in events], dtype=pl.Int32),
        }
    )
    media_frame = pl.DataFrame(
        {
            "media_id": list(media),
            "author_id": [number // 10 for number in media],
            "created_at": [START] * len(media),
            "topic": pl.Series(list(media.values()), dtype=pl.String),
        }
    )
    return checked(
        pl.DataFrame({"user_id": ids}) if users is None else users,
        media_frame.with_columns(pl.col("created_at").cast(TIME)),
        frame.with_columns(pl.col("event_time").cast(TIME)),
        name="hand-made",
    )


def planted(users: int = 60, topics: int = 4, accounts: int = 8, per_account: int = 5, seed: int = 0) -> Dataset:
    """Users who click what they are shown of their own topic only; every topic has `accounts` accounts."""
    random = np.random.default_rng(seed)
    media: dict[int, str | None] = {
        account * 10 + number: f"topic{account % topics}"
        for account in range(1, topics * accounts + 1)
        for number in range(per_account)
    }
    ids = np.array(list(media))
    events = []
    for request in range(users * 8):
        user, minute = request % users, float(request // users * 600 + random.integers(0, 60))
        for place, item in enumerate(random.choice(ids, 16, replace=False)):
            shown = (f"u{user}", int(item), f"r{request}", minute + place / 10)
            events.append(Event(shown[0], shown[1], Action.IMPRESSION, shown[3], shown[2], place))
            if media[shown[1]] == f"topic{user % topics}":
                events.append(Event(shown[0], shown[1], Action.CLICK, shown[3] + 0.05, shown[2]))
    return dataset(sorted(events, key=lambda event: event.minute), media)


def table_of(data: Dataset) -> ItemTable:
    log = EventLog.from_dataset(data)
    return ItemTables(log, data.media, ItemVectors.zeros(log)).as_of(data.as_of_ms)

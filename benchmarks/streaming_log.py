"""The log of benchmarks/streaming.py: as many events as asked for, written part by part, with tastes that a model can find.

Fast rather than true to life: `explore simulate` makes a world whose truth is known, this one only has to be large. Knows the data
contract; knows no training. Nearly in time order, as logs that several machines write: actions of one part lie in the next.

Shapes: V users, M media, R requests of a part, N = R * PAGE impressions of a part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.io.plugins import register_io_source

from training.datasets.contract import CONTRACT_VERSION, EVENTS, INFO_FILE, MEDIA, TIME, USERS

Int64 = NDArray[np.int64]

START_MS = 1_760_000_000_000
DAYS = 14
DAY_MS = 86_400_000
PAGE = 20  # impressions of a request
TOPICS = 24
FAVOURITES = 3  # topics that a user likes
_REQUESTS = 25_000  # of a part: half a million impressions
_EVENTS_PER_REQUEST = 28
_MEDIA_PER_AUTHOR = 20
# Action, its share among clicks, and how long after the impression it comes at most.
_AFTER_CLICK = (("long_view", 0.4), ("like", 0.25), ("save", 0.08), ("follow", 0.05))
_SCHEMA = {column.name: column.dtype for column in EVENTS.columns if column.name not in ("value", "propensity")}


@dataclass(frozen=True)
class LogSize:
    """How large a log is; media and users do not grow with the events."""

    events: int
    users: int = 100_000
    media: int = 200_000


def write_log(root: Path, size: LogSize, seed: int = 0) -> int:
    """Writes the data set and returns how many events it holds: `size.events`, but for what is left of the last page."""
    root.mkdir(parents=True)
    world = _World(size, np.random.default_rng(seed))
    world.users().write_parquet(root / USERS.file)
    world.media().write_parquet(root / MEDIA.file)
    counted = [0]

    def parts(*_: object) -> Iterator[pl.DataFrame]:
        for part in world.parts(size.events):
            counted[0] += len(part)
            yield part

    register_io_source(parts, schema=pl.Schema(_SCHEMA)).sink_parquet(root / EVENTS.file, compression="zstd")
    rows = {"users": size.users, "media": size.media, "events": counted[0]}
    info = {
        "name": root.name,
        "created_by": "benchmarks.streaming",
        "as_of_ms": START_MS + DAYS * DAY_MS + DAY_MS // 24,
    }
    info |= {"rows": rows, "contract_version": CONTRACT_VERSION, "seed": seed}
    (root / INFO_FILE).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    return counted[0]


class _World:
    """Tastes of users, topics and qualities of media, and pages that mix what a user likes with anything."""

    def __init__(self, size: LogSize, random: np.random.Generator) -> None:
        self._size, self._random = size, random
        self._topic_M = random.integers(0, TOPICS, size.media)
        self._author_M = self._topic_M + TOPICS * random.integers(
            0, max(1, size.media // _MEDIA_PER_AUTHOR // TOPICS), size.media
        )
        self._quality_M = random.normal(0, 1.0, size.media)
        self._by_topic = [np.flatnonzero(self._topic_M == topic) for topic in range(TOPICS)]
        self._favourite_VF = random.integers(0, TOPICS, (size.users, FAVOURITES))

    def users(self) -> pl.DataFrame:
        return pl.DataFrame({"user_id": [f"u{user}" for user in range(self._size.users)]})

    def media(self) -> pl.DataFrame:
        created_ms_M = START_MS + self._random.integers(-30 * DAY_MS, 0, self._size.media)
        return pl.DataFrame(
            {
                "media_id": np.arange(1, self._size.media + 1),
                "author_id": self._author_M + 1,
                "created_at": pl.Series(created_ms_M).cast(TIME),
                "topic": [f"topic{topic:02}" for topic in self._topic_M],
            }
        )

    def parts(self, events: int) -> Iterator[pl.DataFrame]:
        """Parts of about as many events as _REQUESTS pages make, until there are `events` of them."""
        done = request = 0
        while done < events:
            requests = min(_REQUESTS, math.ceil((events - done) / _EVENTS_PER_REQUEST))
            # A little more time than its events take: the parts overlap.
            until = min(1, (done + 1.01 * requests * _EVENTS_PER_REQUEST) / events)
            part = self._part(request, requests, (done / events, until)).head(events - done)
            yield part
            done, request = done + len(part), request + requests

    def _part(self, first_request: int, requests: int, span: tuple[float, float]) -> pl.DataFrame:
        """Pages and what comes of them; `span` is the part's share of the log's time."""
        random, n = self._random, requests * PAGE
        user_R = (self._size.users * random.random(requests) ** 1.5).astype(np.int64)  # some come more often
        start_ms, end_ms = (START_MS + int(share * DAYS * DAY_MS) for share in span)
        time_R = np.sort(random.integers(start_ms, end_ms + 1, requests))
        user_N, time_N = np.repeat(user_R, PAGE), np.repeat(time_R, PAGE)
        media_N = self._shown(user_N)
        liked_N = (self._favourite_VF[user_N] == self._topic_M[media_N][:, None]).any(axis=1)
        click_N = random.random(n) < 1 / (1 + np.exp(3.1 - 2.2 * liked_N - self._quality_M[media_N]))
        columns = [(np.arange(n), "impression", time_N)]
        clicked = np.flatnonzero(click_N)
        clicked_ms = time_N[clicked] + random.integers(1_000, 30_000, len(clicked))
        columns.append((clicked, "click", clicked_ms))
        for action, share in _AFTER_CLICK:
            of = random.random(len(clicked)) < share
            columns.append(
                (
                    clicked[of],
                    action,
                    clicked_ms[of] + random.integers(1_000, 60_000, int(of.sum())),
                )
            )
        place = np.concatenate([of for of, _, _ in columns])
        frame = pl.DataFrame(
            {
                "user": user_N[place],
                "media_id": media_N[place] + 1,
                "author_id": self._author_M[media_N[place]] + 1,
                "event_time": pl.Series(np.concatenate([time_ms for _, _, time_ms in columns])).cast(TIME),
                "action": pl.concat([pl.repeat(action, len(of), eager=True) for of, action, _ in columns]),
                "request": first_request + place // PAGE,
                "position": (place % PAGE).astype(np.int32),
            }
        ).sort("event_time", maintain_order=True)
        surface = pl.when(pl.col("request") % 3 == 0).then(pl.lit("home")).otherwise(pl.lit("explore"))
        named = frame.with_columns(
            user_id="u" + pl.col("user").cast(pl.String),
            request_id="r" + pl.col("request").cast(pl.String),
            surface=surface,
        )
        return named.select(pl.col(name).cast(dtype) for name, dtype in _SCHEMA.items())

    def _shown(self, user_N: Int64) -> Int64:
        """Half of a page is of the user's topics, half is anything; popular media more often. Shape [N]."""
        random, n = self._random, len(user_N)
        topic_N = np.where(
            random.random(n) < 0.5,
            self._favourite_VF[user_N, random.integers(0, FAVOURITES, n)],
            random.integers(0, TOPICS, n),
        )
        media_N = np.empty(n, dtype=np.int64)
        for topic, media in enumerate(self._by_topic):
            of = np.flatnonzero(topic_N == topic)
            media_N[of] = media[(len(media) * random.random(len(of)) ** 2).astype(np.int64)]
        return media_N

"""Logs and vectors for the tests of what sourcing reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from hypothesis import strategies as st
from numpy.typing import NDArray

from features.actions import Action
from features.item_table import ItemTable
from tests.training.logs import MINUTE, START, Event, dataset
from training.event_log import EventLog
from training.progress import Progress
from training.snapshots import ItemTables, ItemVectors

MEDIA: dict[int, str | None] = {10: "a", 11: "a", 12: None, 20: "b", 21: "b", 30: "a"}  # media m is by account m // 10
USERS = ("ann", "bob", "cid")
AS_OF_MINUTE = 60

EVENTS = st.lists(
    st.builds(
        Event,
        user=st.sampled_from(USERS),
        media=st.sampled_from(sorted(MEDIA)),
        action=st.sampled_from(list(Action)),
        minute=st.integers(0, 2 * AS_OF_MINUTE).map(float),
    ),
    min_size=1,
    max_size=60,
)


@dataclass(frozen=True)
class World:
    """A log, and the item table and users of the moment AS_OF_MINUTE; `past` are the events that may count."""

    log: EventLog
    items: ItemTable
    users: pl.DataFrame
    past: list[Event]

    @property
    def as_of_ms(self) -> int:
        return self.items.as_of_ms


def world(
    events: list[Event],
    segments: dict[str, str | None] | None = None,
    accounts: dict[str, int | None] | None = None,
    account_UE: NDArray[np.float32] | None = None,
    media_MD: NDArray[np.float32] | None = None,
) -> World:
    """Users have the segments and accounts given; without `accounts` the users table has no such column."""
    events = sorted(events, key=lambda event: event.minute)
    data = dataset(events, MEDIA)
    users = data.users.drop("account_id", strict=False).with_columns(
        pl.Series("segment", [(segments or {}).get(user) for user in data.users["user_id"]], dtype=pl.String)
    )
    if accounts is not None:
        owned = [accounts.get(user) for user in users["user_id"]]
        users = users.with_columns(pl.Series("account_id", owned, dtype=pl.Int64))
    log = EventLog.from_dataset(data)
    bare = ItemVectors.zeros(log, 2, 2)
    vectors = ItemVectors(
        bare.media_MD if media_MD is None else media_MD, bare.account_UE if account_UE is None else account_UE
    )
    items = ItemTables(log, data.media, vectors).as_of(START + AS_OF_MINUTE * MINUTE)
    return World(log, items, users, [event for event in events if event.minute < AS_OF_MINUTE])


@dataclass
class NamedSteps:
    """Remembers the steps, and how far each said it was at the end."""

    names: list[str] = field(default_factory=list)
    done: dict[str, tuple[int, int]] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        self.names.append(name)
        yield lambda done, total: self.done.update({name: (done, total)})


def unit_vectors(count: int, dim: int = 16, seed: int = 0) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(count: int, dim: int = 32, clusters: int = 40, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors around planted centres, as trained vectors lie around tastes."""
    random = np.random.default_rng(seed)
    centre_CE = random.normal(size=(clusters, dim))
    vectors = centre_CE[random.integers(0, clusters, count)] + 0.7 * random.normal(size=(count, dim))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

"""Item tables over time: the same rows in every snapshot, counters that know only what happened before it.

Knows how a table follows from the log; knows nothing of users or of what the vectors mean.

Shapes: M media, U accounts, A action codes, D media vector, E account vector (here also E events, as in the log).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.actions import Action
from features.counters import HOUR_MS, ActionCounters
from features.item_table import MAX_SURFACES, UNKNOWN_ROW, UNKNOWN_TOPIC, ItemTable
from training.columns import CHUNK, chunks
from training.event_log import NO_SURFACE, EventLog, sorted_rows

Bits = NDArray[np.uint32]
Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

SNAPSHOT_EVERY_MS = 6 * HOUR_MS


@dataclass(frozen=True)
class ItemVectors:
    """The embeddings that go into every snapshot; rows as in the log, unit length or zero."""

    media_MD: Float32
    account_UE: Float32

    @classmethod
    def zeros(cls, log: EventLog, media_dim: int = 1, account_dim: int = 1) -> ItemVectors:
        """Vectors that say nothing, for steps that come before the embeddings are trained."""
        return cls(
            np.zeros((len(log.media_id_M), media_dim), dtype=np.float32),
            np.zeros((len(log.account_id_U), account_dim), dtype=np.float32),
        )


class ItemTables:
    """The item table as of any moment. Moving forward costs the events in between; moving back starts over."""

    def __init__(
        self,
        log: EventLog,
        media: pl.DataFrame,
        vectors: ItemVectors,
        every_ms: int = SNAPSHOT_EVERY_MS,
        surfaces: tuple[str, ...] = (),
    ) -> None:
        """`surfaces`: as in every table; see `busiest_surfaces`."""
        self._log, self._vectors, self._every_ms, self._surfaces = log, vectors, every_ms, surfaces
        self._media = _MediaColumns(log, media)
        self._restart(0)

    def snapshot_ms(self, time_ms_B: Int64) -> Int64:
        """The last snapshot at or before each request time: what a service would have held at that moment. Shape [B]."""
        return time_ms_B // self._every_ms * self._every_ms

    def as_of(self, time_ms: int) -> ItemTable:
        """The table made of the static columns of all media and of the events before `time_ms`."""
        if time_ms < self._counts.as_of_ms:
            self._restart(time_ms)
        self._advance(time_ms)
        counts_A = self._counts.counts_KA.sum(axis=0)
        media, accounts = self._media, len(self._log.account_id_U)
        existing_M = media.created_at_ms_M < time_ms
        return ItemTable(
            as_of_ms=time_ms,
            topics=media.topics,
            policy_flags=media.policy_flags,
            media_id_M=self._log.media_id_M,
            author_row_M=media.author_row_M,
            topic_M=media.topic_M,
            created_at_ms_M=media.created_at_ms_M,
            duration_ms_M=media.duration_ms_M,
            non_recommendable_M=media.non_recommendable_M,
            surfaces=self._surfaces,
            policy_flags_M=media.policy_flags_M,
            counts_MA=self._counts.counts_KA.astype(np.float32),
            recent_counts_MA=self._counts.recent_KA.astype(np.float32),
            media_vector_MD=self._vectors.media_MD,
            base_rate_A=(counts_A / max(counts_A[Action.IMPRESSION], 1.0)).astype(np.float32),
            account_id_U=self._log.account_id_U,
            account_counts_UA=self._account_counts.counts_KA.astype(np.float32),
            account_recent_counts_UA=self._account_counts.recent_KA.astype(np.float32),
            account_n_media_U=np.bincount(media.author_row_M[existing_M], minlength=accounts).astype(np.float32),
            account_vector_UE=self._vectors.account_UE,
        )

    def _restart(self, time_ms: int) -> None:
        first_ms = int(self._log.time_ms_E[0]) if len(self._log) else 0
        start_ms = min(first_ms, time_ms)
        self._place = 0
        self._counts = ActionCounters(len(self._log.media_id_M), start_ms)
        self._account_counts = ActionCounters(len(self._log.account_id_U), start_ms)

    def _advance(self, time_ms: int) -> None:
        end = self._log.count_before(time_ms)
        while end - self._place > CHUNK:
            # One moment later than the chunk's last event, as events of one moment are counted together.
            self._count(int(self._log.time_ms_E[self._place + CHUNK - 1]) + 1)
        self._count(time_ms)

    def _count(self, until_ms: int) -> None:
        log = self._log
        step = slice(self._place, log.count_before(until_ms))
        action_E, time_ms_E = log.action_E[step], log.time_ms_E[step]
        for counters, row_E in ((self._counts, log.media_row_E[step]), (self._account_counts, log.author_row_E[step])):
            known_E = row_E != UNKNOWN_ROW
            counters.advance(until_ms, row_E[known_E], action_E[known_E], time_ms_E[known_E])
        self._place = step.stop


def busiest_surfaces(log: EventLog) -> tuple[str, ...]:
    """The surfaces with most events, the busiest first, equal ones by name."""
    count_S = np.zeros(len(log.surfaces), dtype=np.int64)
    for of in chunks(0, len(log)):
        count_S += np.bincount(log.surface_E[of][log.surface_E[of] != NO_SURFACE], minlength=len(count_S))
    order = sorted(range(len(count_S)), key=lambda surface: (-count_S[surface], log.surfaces[surface]))
    return tuple(log.surfaces[surface] for surface in order if log.surfaces[surface])[:MAX_SURFACES]


class _MediaColumns:
    """The columns of the media table that no event changes, in the order of the log's media rows."""

    def __init__(self, log: EventLog, media: pl.DataFrame) -> None:
        self._media = media.sort("media_id")
        self.author_row_M = sorted_rows(log.account_id_U, self._media["author_id"].to_numpy().astype(np.int64))
        self.created_at_ms_M = self._media["created_at"].dt.epoch("ms").to_numpy().astype(np.int64)
        self.duration_ms_M = self._float("duration_ms")
        self.non_recommendable_M = self._float("non_recommendable_score")

    def _float(self, column: str) -> Float32:
        return self._media[column].cast(pl.Float32).fill_null(float("nan")).to_numpy()

    @cached_property
    def topics(self) -> tuple[str, ...]:
        return tuple(self._media["topic"].drop_nulls().unique().sort().to_list())

    @cached_property
    def topic_M(self) -> Int32:
        topic_M = self._media["topic"].cast(pl.Enum(list(self.topics))).to_physical().cast(pl.Int32)
        return topic_M.fill_null(UNKNOWN_TOPIC).to_numpy()

    @cached_property
    def policy_flags(self) -> tuple[str, ...]:
        return tuple(self._flagged["flag"].unique().sort().to_list())

    @cached_property
    def policy_flags_M(self) -> Bits:
        bits_M = np.zeros(len(self._media), dtype=np.uint32)
        names = pl.Enum(list(self.policy_flags))
        flag_X = self._flagged["flag"].cast(names).to_physical().to_numpy().astype(np.uint32)
        np.bitwise_or.at(bits_M, self._flagged["row"].to_numpy(), np.uint32(1) << flag_X)
        return bits_M

    @cached_property
    def _flagged(self) -> pl.DataFrame:
        """One line per media row and flag; none where the data set says nothing of flags."""
        if "policy_flags" not in self._media.columns:
            return pl.DataFrame(schema={"row": pl.UInt32, "flag": pl.String})
        flags = self._media.select(pl.row_index("row"), flag=pl.col("policy_flags"))
        return flags.explode("flag").drop_nulls("flag")

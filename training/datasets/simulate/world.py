"""A simulated world: everybody's true tastes, and with them the true answer to "would this user have liked that post".

Knows no logging policy and no files but its own.

Shapes: X pairs, T topics, D latent dimensions, A accounts, M media, U users, N days, B blocks, S signals.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from training.datasets.contract import TRUTH_DIR
from training.datasets.simulate.behaviour import Behaviour, behave
from training.datasets.simulate.config import DAY_MS, SimulationConfig
from training.datasets.simulate.state import (
    BLOCK_MS,
    Accounts,
    Follows,
    Int64,
    Media,
    Topics,
    Users,
    load_part,
    save_part,
)
from training.errors import DatasetError, UnknownId

_CONFIG_FILE = "world.json"


@dataclass(frozen=True)
class World:
    """The ground truth of one simulated log."""

    config: SimulationConfig
    topics: Topics
    accounts: Accounts
    media: Media
    users: Users
    follows: Follows

    def action_probabilities(
        self, user_ids: Sequence[str], media_ids: NDArray[np.integer], time_ms: int | Int64
    ) -> dict[str, NDArray[np.float64]]:
        """P(task | the user looks at the media at that time), pairwise, for every task of features.actions.

        `user_ids` and `media_ids` have one length X, `time_ms` (epoch) is one moment or X of them; times outside the log
        count as its first or last. Each result has shape [X]. Raises UnknownId, and ValueError for unequal lengths.
        """
        if len(user_ids) != len(media_ids):
            raise ValueError(f"{len(user_ids)} user ids and {len(media_ids)} media ids are not pairs")
        time_ms_X = np.broadcast_to(np.asarray(time_ms, dtype=np.int64), (len(user_ids),))
        return self.behaviour(self.user_rows(user_ids), self.media_rows(media_ids), time_ms_X).probabilities()

    def behaviour(self, user_X: Int64, media_X: Int64, time_ms_X: Int64) -> Behaviour:
        """What users (rows) tend to do with media (rows) that they look at, at each pair's time."""
        users, media = self.users, self.media
        day_X, block_X = self.day(time_ms_X), self._step(time_ms_X, BLOCK_MS, len(users.mood_BU))
        account_X = media.account_M[media_X]
        vector_XD = media.vector_MD[media_X]
        match_X = _dot(users.taste_NUD[day_X, user_X], vector_XD)
        quality_X = media.quality_M[media_X].astype(np.float64)
        followed_X = self.follows.holds(user_X * len(self.accounts.account_id_A) + account_X, time_ms_X)
        overlong_X = np.log(media.duration_ms_M[media_X]) - users.patience_U[user_X]
        signals = {
            "match": match_X,
            "mood": _dot(self.topics.vector_TD[users.mood_BU[block_X, user_X]], vector_XD),
            "followed": followed_X,
            "quality": quality_X,
            "depth": match_X * quality_X,
            "fresh": np.exp(-np.maximum(time_ms_X - media.created_ms_M[media_X], 0) / DAY_MS),
            "overlong": overlong_X,
            "misfit": overlong_X**2,
            "spam": self.accounts.is_spam_A[account_X],
            "eager": users.eager_U[user_X],
            "sociable": users.sociable_U[user_X],
            "grumpy": users.grumpy_U[user_X],
        }
        return behave(signals)

    def day(self, time_ms_X: Int64) -> Int64:
        """The day of the log that each time falls into, or the nearest one."""
        return self._step(time_ms_X, DAY_MS, len(self.users.taste_NUD))

    def user_rows(self, user_ids: Sequence[str]) -> Int64:
        """Row of each user. Raises UnknownId."""
        rows = [self._row_of_user.get(user_id, -1) for user_id in user_ids]
        if -1 in rows:
            raise UnknownId("user_id", user_ids[rows.index(-1)], len(self._row_of_user))
        return np.array(rows, dtype=np.int64)

    def media_rows(self, media_ids: NDArray[np.integer]) -> Int64:
        """Row of each media. Raises UnknownId."""
        sorted_ids, order = self._media_order
        place = np.minimum(np.searchsorted(sorted_ids, media_ids), len(sorted_ids) - 1)
        unknown = np.flatnonzero(sorted_ids[place] != media_ids)
        if len(unknown):
            raise UnknownId("media_id", int(media_ids[unknown[0]]), len(sorted_ids))
        return np.asarray(order[place])

    def save(self, dataset_dir: Path) -> None:
        """Writes `truth/` into the directory of a data set: npz and JSON."""
        directory = dataset_dir / TRUTH_DIR
        directory.mkdir()
        for part in (self.topics, self.accounts, self.media, self.users, self.follows):
            save_part(part, directory)
        config = {**asdict(self.config), "end": self.config.end.isoformat()}
        (directory / _CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, dataset_dir: Path | str) -> World:
        """The world behind a simulated data set. Raises DatasetError when it has none, or a damaged one."""
        directory = Path(dataset_dir) / TRUTH_DIR
        try:
            config = json.loads((directory / _CONFIG_FILE).read_text(encoding="utf-8"))
            return cls(
                SimulationConfig(**{**config, "end": datetime.fromisoformat(config["end"])}),
                load_part(Topics, directory),
                load_part(Accounts, directory),
                load_part(Media, directory),
                load_part(Users, directory),
                load_part(Follows, directory),
            )
        except (OSError, KeyError, TypeError, ValueError, EOFError, BadZipFile) as error:
            reason = f"it holds no readable world ({error})"
            raise DatasetError(str(directory), reason, "simulate the data set again") from error

    @cached_property
    def _row_of_user(self) -> dict[str, int]:
        return {str(row + 1): row for row in range(self.config.users)}

    @cached_property
    def _media_order(self) -> tuple[Int64, Int64]:
        order = np.argsort(self.media.media_id_M)
        return self.media.media_id_M[order], order

    def _step(self, time_ms_X: Int64, length_ms: int, count: int) -> Int64:
        return np.asarray(np.clip((time_ms_X - self.config.start_ms) // length_ms, 0, count - 1))


def _dot(left_XD: NDArray[np.float32], right_XD: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("xd,xd->x", left_XD, right_XD, dtype=np.float64))

"""The log of the streaming benchmark keeps the data contract, and what it weighs is what its columns take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.streaming import weigh
from benchmarks.streaming_log import PAGE, LogSize, write_log
from features.recency import N_WINDOWS
from training.stored_log import StoredLog, read_log

SIZE = LogSize(events=20_000, users=500, media=1_000)


@pytest.fixture(name="root", scope="module")
def _root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("streaming") / "log"
    assert write_log(root, SIZE) == SIZE.events
    return root


def test_the_log_keeps_the_contract_and_has_tastes(root: Path) -> None:
    stored = read_log(root)
    assert isinstance(stored, StoredLog)
    assert (len(stored.log), len(stored.users), len(stored.media)) == (SIZE.events, SIZE.users, SIZE.media)
    events = pl.read_parquet(root / "events.parquet")
    pages = (
        events.filter(pl.col("action") == "impression").group_by("request_id").agg(pl.len(), pl.col("position").max())
    )
    assert (pages["len"].max(), pages["position"].max()) == (PAGE, PAGE - 1)
    rate = pl.col("action").eq("click").sum() / pl.col("action").eq("impression").sum()
    of_media = events.group_by("media_id").agg(rate=rate, shown=pl.len()).filter(pl.col("shown") > 10)["rate"]
    low, high = np.quantile(of_media.to_numpy(), [0.1, 0.9])
    assert high > 2 * low


def test_the_same_seed_gives_the_same_log(root: Path, tmp_path: Path) -> None:
    write_log(tmp_path / "again", SIZE)
    assert pl.read_parquet(tmp_path / "again/events.parquet").equals(pl.read_parquet(root / "events.parquet"))


def test_arrays_weigh_what_their_types_say(root: Path) -> None:
    found = weigh(root)
    per_event = 4 + 8 + 8 + 4 + 4 + 1 + 8 + 8 + 4 + 4
    of_media = (SIZE.media + SIZE.media / 20) * 8 / SIZE.events
    assert found["events as arrays"] == pytest.approx(per_event + of_media, rel=0.05)
    # Key, place and decayed sums of every event, key and place once more where histories show it; profiles of the users.
    by_user, of_users = 16 + 8 * N_WINDOWS + 16 * 0.29, 32 * SIZE.users / SIZE.events
    assert found["events by user"] == pytest.approx(by_user + of_users, rel=0.1)
    assert found["events as a frame"] > 50

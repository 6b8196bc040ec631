"""A data set read part by part is the one that is loaded whole, and what is wrong with it is said in the same words."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from tests.training.datasets.frames import with_value
from tests.training.logs import planted
from tests.training.test_event_log import same
from training import columns
from training.columns import Scratch
from training.datasets import load, write
from training.errors import DatasetError
from training.event_log import EventLog
from training.stored_log import read_log

CHUNK = 100


@pytest.fixture(name="root")
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(columns, "CHUNK", CHUNK)
    write(planted(users=10), tmp_path / "planted")
    return tmp_path / "planted"


def events(root: Path) -> pl.DataFrame:
    return pl.read_parquet(root / "events.parquet")


def test_parts_make_the_log_of_the_whole(root: Path, tmp_path: Path) -> None:
    whole, done = load(root), []
    stored = read_log(root, Scratch(tmp_path, budget=0), lambda *progress: done.append(progress))
    same(stored.log, EventLog.from_dataset(whole))
    assert (stored.as_of_ms, stored.name, stored.warnings) == (whole.as_of_ms, whole.name, whole.warnings)
    assert stored.users.equals(whole.users)
    assert stored.media.equals(whole.media)
    rows = len(whole.events)
    assert rows > 3 * CHUNK
    assert done == [(min(end, rows), rows) for end in range(CHUNK, rows + CHUNK, CHUNK)]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("media_id", 0, "it is too small"),
        ("media_id", 999, "the media table lacks this media"),
        ("action", "stare", "unknown action"),
        ("user_id", "nobody", "the users table lacks this user"),
        ("position", -1, "it is too small"),
    ],
)
def test_a_bad_value_in_a_later_part_is_named_as_by_load(root: Path, column: str, value: object, reason: str) -> None:
    with_value(events(root), column, 2 * CHUNK + 7, value).write_parquet(root / "events.parquet")
    with pytest.raises(DatasetError, match=reason) as of_load:
        load(root)
    with pytest.raises(DatasetError) as of_parts:
        read_log(root)
    assert str(of_parts.value) == str(of_load.value)
    assert of_parts.value.row == 2 * CHUNK + 7


def test_a_missing_column_has_no_row(root: Path) -> None:
    events(root).drop("action").write_parquet(root / "events.parquet")
    with pytest.raises(DatasetError, match=r"events\.parquet, column action: the column is missing"):
        read_log(root)


def test_a_file_without_rows_is_refused(root: Path) -> None:
    events(root).clear().write_parquet(root / "events.parquet")
    (root / "dataset.json").unlink()
    with pytest.raises(DatasetError, match=r"events\.parquet: it holds no rows"):
        read_log(root)


@pytest.mark.parametrize("name", ["users", "media", "events"])
def test_missing_and_damaged_files_are_named(root: Path, name: str) -> None:
    file = root / f"{name}.parquet"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DatasetError, match=rf"{name}\.parquet: it is no readable Parquet file"):
        read_log(root)
    file.unlink()
    with pytest.raises(DatasetError, match=rf"{name}\.parquet: the file is missing"):
        read_log(root)


def test_the_description_is_held_against_the_files(root: Path) -> None:
    info = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**info, "rows": {"events": 3}}))
    with pytest.raises(DatasetError, match=r"events\.parquet: it holds \d+ rows, dataset\.json counts 3"):
        read_log(root)
    (root / "dataset.json").write_text(json.dumps({**info, "as_of_ms": 5}))
    with pytest.raises(DatasetError, match="as_of_ms 5 is not after the last event"):
        read_log(root)
    (root / "dataset.json").unlink()
    assert "dataset.json is missing" in read_log(root).warnings[0]


def test_events_out_of_order_over_parts_are_sorted_and_told(root: Path) -> None:
    whole, found = load(root), events(root)
    pl.concat([found[CHUNK:], found[:CHUNK]]).write_parquet(root / "events.parquet")
    stored = read_log(root)
    assert "were sorted" in stored.warnings[0]
    same(stored.log, EventLog.from_dataset(whole))


def test_the_digest_is_that_of_the_rows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = read_log(root).digest
    monkeypatch.setattr(columns, "CHUNK", 1 << 19)
    assert read_log(root).digest == digest
    with_value(events(root), "position", 2 * CHUNK, 77).write_parquet(root / "events.parquet")
    assert read_log(root).digest != digest

"""A data set on disk: it loads as written, and whatever is wrong with it is said with the file's name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.training.datasets.frames import NOON_MS, events, media, users, with_value
from training.datasets import checked, load, write
from training.errors import DatasetError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(checked(users(), media(), events(), name="small", seed=3, created_by="a test"), tmp_path / "small")
    return tmp_path / "small"


def edit_info(root: Path, **changes: Any) -> None:
    info = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**info, **changes}))


def test_a_data_set_loads_as_it_was_written(root: Path) -> None:
    dataset = load(root)
    assert dataset.events.equals(checked(users(), media(), events(), name="small").events)
    assert dataset.users["account_id"].to_list() == [7, 9]
    assert dataset.media["policy_flags"].to_list() == [["nudity", "graphic"], None]
    assert (dataset.name, dataset.seed, dataset.created_by, dataset.root) == ("small", 3, "a test", root)
    assert dataset.as_of_ms == NOON_MS + 3
    assert dataset.warnings == ()


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: there is no such directory; import or simulate a data set first"):
        load(tmp_path / "nowhere")


def test_a_missing_file_is_named(root: Path) -> None:
    (root / "media.parquet").unlink()
    with pytest.raises(DatasetError, match=r"media\.parquet: the file is missing"):
        load(root)


def test_a_damaged_file_is_named(root: Path) -> None:
    (root / "users.parquet").write_bytes((root / "users.parquet").read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"users\.parquet: it is no readable Parquet file"):
        load(root)


def test_a_bad_value_is_named_with_the_path_of_its_file(root: Path) -> None:
    with_value(media(), "author_id", 1, 0).write_parquet(root / "media.parquet")
    with pytest.raises(
        DatasetError, match=rf"{root}/media\.parquet, column author_id, row 1: value 0: it is too small"
    ):
        load(root)


def test_a_file_with_other_rows_than_counted_is_refused(root: Path) -> None:
    users().vstack(users().with_columns(user_id=pl.lit("3"))[:1]).write_parquet(root / "users.parquet")
    with pytest.raises(DatasetError, match=r"users\.parquet: it holds 3 rows, dataset\.json counts 2"):
        load(root)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is no JSON"),
        ("[]", "it is no JSON object"),
        ("{}", "contract_version is None, this software reads 1"),
        ('{"contract_version": 2}', "contract_version is 2, this software reads 1"),
        ('{"contract_version": 1, "as_of_ms": "now"}', "'now' is no integer; write epoch milliseconds"),
        ('{"contract_version": 1, "as_of_ms": true}', "True is no integer"),
        (f'{{"contract_version": 1, "as_of_ms": {10**30}}}', f"{10**30} needs more than 64 bits"),
    ],
)
def test_a_broken_description_is_refused(root: Path, text: str, reason: str) -> None:
    (root / "dataset.json").write_text(text)
    with pytest.raises(DatasetError, match=r"dataset\.json") as caught:
        load(root)
    assert reason in str(caught.value)


def test_a_log_cannot_end_before_its_last_event(root: Path) -> None:
    edit_info(root, as_of_ms=NOON_MS + 2)
    with pytest.raises(DatasetError, match=rf"dataset\.json, column as_of_ms: .* write {NOON_MS + 3} or later"):
        load(root)


def test_a_log_may_end_later_than_its_last_event(root: Path) -> None:
    edit_info(root, as_of_ms=NOON_MS + 5000)
    assert load(root).as_of_ms == NOON_MS + 5000


def test_a_description_may_begin_with_the_mark_of_an_editor(root: Path) -> None:
    file = root / "dataset.json"
    file.write_text("\ufeff" + file.read_text())
    assert load(root).seed == 3


def test_parquet_files_alone_are_enough(root: Path) -> None:
    (root / "dataset.json").unlink()
    dataset = load(root)
    assert (dataset.name, dataset.as_of_ms) == ("small", NOON_MS + 3)
    assert "dataset.json is missing" in dataset.warnings[0]


def test_unknown_columns_are_told_as_warnings(root: Path) -> None:
    users().with_columns(shoe_size=pl.lit(42)).write_parquet(root / "users.parquet")
    assert load(root).warnings == (f"{root}/users.parquet: column shoe_size is not in the contract and was left out",)


def test_events_out_of_order_are_sorted_and_told(root: Path) -> None:
    events().reverse().write_parquet(root / "events.parquet")
    dataset = load(root)
    assert dataset.events["action"].to_list() == ["impression", "click", "dwell"]
    assert "were sorted" in dataset.warnings[0]

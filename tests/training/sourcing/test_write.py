"""The files: all of them, of the types that bundles/layout.py declares, and none at all when an index is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from bundles import layout
from features.actions import Action
from tests.training.logs import Event
from tests.training.sourcing.worlds import NamedSteps, World, unit_vectors, world
from training.errors import ExportError
from training.sourcing import IndexConfig, SourcingConfig, SourcingQuality, write_sourcing

ARRAYS = {
    layout.ACCOUNT_INDEX_ROWS: np.int64,
    layout.ACCOUNT_NEIGHBOURS: np.int32,
    layout.ACCOUNT_NEIGHBOUR_COSINES: np.float16,
    layout.ACCOUNT_MEDIA_OFFSETS: np.int64,
    layout.ACCOUNT_MEDIA_ROWS: np.int32,
    layout.ACCOUNT_FOLLOW_OFFSETS: np.int64,
    layout.ACCOUNT_FOLLOW_ROWS: np.int32,
    layout.ACCOUNT_ENGAGED_OFFSETS: np.int64,
    layout.ACCOUNT_ENGAGED_ROWS: np.int32,
    layout.MEDIA_INDEX_ROWS: np.int64,
    layout.CO_OCCURRING_OFFSETS: np.int64,
    layout.CO_OCCURRING_ROWS: np.int32,
    layout.CO_OCCURRING_SCORES: np.float32,
    layout.TRENDING_VALUES: np.float32,
    layout.SEGMENT_OFFSETS: np.int64,
    layout.SEGMENT_ROWS: np.int32,
}
OTHERS = {layout.ACCOUNT_EMBEDDING, layout.ACCOUNT_INDEX, layout.MEDIA_EMBEDDING, layout.MEDIA_INDEX, layout.TRENDING}


def village() -> World:
    events = [
        Event(user, media, Action.CLICK, minute) for user in ("ann", "bob") for minute, media in enumerate([10, 11, 20])
    ]
    events.append(Event("ann", 20, Action.FOLLOW, 5))
    account_UE = np.array([[1, 0], [0, 0], [0.6, 0.8]], dtype=np.float32)
    media_MD = np.array([[1, 0], [0, 1], [0, 0], [0.6, 0.8], [0.8, 0.6], [1, 0]], dtype=np.float32)
    return world(events, {"ann": "one"}, {"ann": 1}, account_UE, media_MD)


def write(
    made: World, root: Path, config: SourcingConfig | None = None, steps: NamedSteps | None = None
) -> SourcingQuality:
    steps = steps or NamedSteps()
    return write_sourcing(made.items, made.log, made.users, root, steps, vectors_until_ms=77, config=config)


def files_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_every_file_of_the_layout_is_there_with_its_type(tmp_path: Path) -> None:
    quality = write(village(), tmp_path)
    assert files_in(tmp_path) == ARRAYS.keys() | OTHERS
    for name, dtype in ARRAYS.items():
        assert np.load(tmp_path / name, allow_pickle=False).dtype == dtype, name
    assert quality.metrics() == {
        "account_index": {"kind": "exact", "accounts": 2, "recall": 1.0},
        "media_index": {"kind": "exact", "media": 5, "recall": 1.0},
        "sourcing": {
            "accounts_with_neighbours": 2,
            "media_with_co_occurring": 3,
            "co_occurring_pairs": 6,
            "accounts_owned": 1,
            "segments": 1,
        },
    }
    assert json.loads(json.dumps(asdict(quality)))


def test_the_files_say_what_was_in_the_log(tmp_path: Path) -> None:
    write(village(), tmp_path)
    rows_I = np.load(tmp_path / layout.MEDIA_INDEX_ROWS)
    assert rows_I.tolist() == [0, 1, 3, 4, 5]
    _, place = faiss.read_index(str(tmp_path / layout.MEDIA_INDEX)).search(np.array([[0.6, 0.8]], np.float32), 2)
    assert rows_I[place[0]].tolist() == [3, 4]
    assert np.load(tmp_path / layout.ACCOUNT_NEIGHBOURS)[:, :2].tolist() == [[2, -1], [-1, -1], [0, -1]]
    assert np.load(tmp_path / layout.ACCOUNT_FOLLOW_ROWS).tolist() == [1]
    assert np.load(tmp_path / layout.ACCOUNT_ENGAGED_ROWS).tolist() == [3, 1, 0]
    info = json.loads((tmp_path / layout.MEDIA_EMBEDDING).read_text())
    assert (info["name"], info["dim"], info["vectors"], info["trained_until_ms"]) == ("default", 2, 5, 77)
    trending = json.loads((tmp_path / layout.TRENDING).read_text())
    assert trending == {"windows_ms": [86_400_000, 172_800_000, 604_800_000], "segments": ["one"]}


def test_writing_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(village(), tmp_path / name)
    for name in files_in(tmp_path / "one"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


BLIND = IndexConfig(kind="hnsw", ef_construction=4, ef_search=1, widen=1)


@pytest.mark.parametrize(
    ("config", "name"),
    [(SourcingConfig(account_index=BLIND), "account index"), (SourcingConfig(media_index=BLIND), "media index")],
)
def test_an_index_that_loses_neighbours_is_refused_and_nothing_is_written(
    tmp_path: Path, config: SourcingConfig, name: str
) -> None:
    made = village()
    vectors = unit_vectors(3_000)
    items = replace(made.items, account_vector_UE=vectors, media_vector_MD=vectors)
    with pytest.raises(ExportError, match=f"export of the {name}: recall@50 of hnsw is"):
        write(replace(made, items=items), tmp_path, config)
    assert files_in(tmp_path) == set()


def test_every_part_is_a_step_of_its_own(tmp_path: Path) -> None:
    steps = NamedSteps()
    write(village(), tmp_path, steps=steps)
    assert steps.names == [
        "account index, recall check",
        "media index, recall check",
        "account neighbours",
        "co-occurring media",
        "trending media",
        "account graph",
        "writing the sourcing files",
    ]
    assert steps.done["media index, recall check"] == (5, 5)


def test_a_log_in_which_nothing_was_liked_leaves_empty_lists(tmp_path: Path) -> None:
    quality = write(world([Event("ann", 10, Action.IMPRESSION, 1)]), tmp_path)
    assert files_in(tmp_path) == ARRAYS.keys() | OTHERS
    assert (quality.coverage.co_occurring_pairs, quality.account_index.vectors) == (0, 0)
    assert np.load(tmp_path / layout.CO_OCCURRING_OFFSETS).tolist() == [0] * 7
    assert faiss.read_index(str(tmp_path / layout.ACCOUNT_INDEX)).ntotal == 0

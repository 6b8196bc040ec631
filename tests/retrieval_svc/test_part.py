"""What one shard holds of a catalogue: its own media and nothing of the others', in the places that they have among all."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from features.counters import DAY_MS
from features.shards import WHOLE, Shard, shard_of
from retrieval_svc import vector_index
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.part import part_of
from retrieval_svc.tables import Lists
from retrieval_svc.vector_index import VectorIndex
from serving.ragged import Int64
from tests.retrieval_svc.igql.running import answer
from tests.retrieval_svc.published import publish
from tests.retrieval_svc.worlds import NOBODY_SAW, catalogue_of, hand_made, likes, random_items, user

ITEMS = random_items(11, media=2_000, accounts=60)
ALL = catalogue_of(ITEMS)


def shards(count: int) -> list[Catalogue]:
    return [part_of(ALL, Shard(index, count)) for index in range(count)]


def test_alone_a_shard_is_the_whole_catalogue() -> None:
    assert part_of(ALL, WHOLE) is ALL


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_have_every_media_item_once_and_it_is_their_accounts(count: int) -> None:
    parts = shards(count)
    ids = np.concatenate([part.items.media_id_M for part in parts])
    assert np.sort(ids).tolist() == ITEMS.media_id_M.tolist()
    for index, part in enumerate(parts):
        assert (shard_of(part.items.account_id_U[part.items.author_row_M], count) == index).all()
        assert part.items.account_id_U is ITEMS.account_id_U


def test_a_shard_of_no_account_finds_nothing() -> None:
    lonely = part_of(catalogue_of(random_items(3, media=5, accounts=1)), Shard(0, 2))
    found = RetrievalEngine(lonely, SourcingConfig()).retrieve(user(), [NOBODY_SAW], np.array([20]))
    assert len(lonely.items.media_id_M) == len(found.candidates) == 0


def test_a_shard_without_media_finds_none_that_are_close_to_what_a_user_liked() -> None:
    lonely = part_of(catalogue_of(hand_made()), Shard(first_empty_shard(), 64))
    assert len(lonely.items.media_id_M) == 0
    assert answer(lonely, "user.liked().media_nn(max_num_to_retrieve=2)", user(history=likes(401))).media == []


def first_empty_shard() -> int:
    """Of 64, where no account of the hand-made world lives."""
    return min(set(range(64)) - set(shard_of(hand_made().account_id_U, 64).tolist()))


def test_places_are_those_among_all_media() -> None:
    for part in shards(3):
        for window in (None, DAY_MS):
            mine, all_trends = part.trends(window), ALL.trends(window)
            assert mine.place_M is not None
            assert mine.topic_place is not None
            assert ITEMS.media_id_M[all_trends.row_M[mine.place_M]].tolist() == _ids(part, mine.row_M)
            topic = np.repeat(np.arange(len(ITEMS.topics)), np.diff(mine.topic_offsets))
            place = all_trends.topic_offsets[topic] + mine.topic_place
            assert ITEMS.media_id_M[all_trends.topic_row[place]].tolist() == _ids(part, mine.topic_row)
            assert mine.value_M[mine.row_M].tolist() == all_trends.value_M[all_trends.row_M[mine.place_M]].tolist()
        assert part.orders.newest_place_M is not None
        newest = ALL.orders.newest_row_M[part.orders.newest_place_M]
        assert ITEMS.media_id_M[newest].tolist() == _ids(part, part.orders.newest_row_M)


def _ids(part: Catalogue, row_X: NDArray[np.integer]) -> list[int]:
    found: list[int] = part.items.media_id_M[row_X].tolist()
    return found


@pytest.mark.parametrize("most", [0, 1, 3, 100])
def test_lists_are_cut_where_the_lists_of_all_media_end(most: int) -> None:
    whole = ALL.tables.co_occurring
    keys: Int64 = np.arange(len(ITEMS.media_id_M), dtype=np.int64)
    every, _ = whole.of(keys, most)
    found = []
    for part in shards(3):
        mine = part.tables.co_occurring
        place_Y, take_S = mine.of(keys, most)
        assert len(place_Y) == take_S.sum()
        key_Y = np.repeat(keys, take_S)
        found += list(
            zip(key_Y.tolist(), mine.places(place_Y, take_S).tolist(), _ids(part, mine.row_X[place_Y]), strict=True)
        )
    key_X = np.searchsorted(whole.offsets, every, side="right") - 1
    ids = ITEMS.media_id_M[whole.row_X[every]]
    assert sorted(found) == sorted(
        zip(key_X.tolist(), (every - whole.offsets[key_X]).tolist(), ids.tolist(), strict=True)
    )


def test_empty_lists_have_an_empty_part() -> None:
    assert Lists.none(4).only(np.empty(0, dtype=np.int32)).offsets.tolist() == [0] * 5


def test_what_is_kept_per_media_item_is_split() -> None:
    for part in shards(4):
        own = len(part.items.media_id_M) / len(ITEMS.media_id_M)
        assert _per_media(part) < 1.1 * own * _per_media(ALL)


def _per_media(catalogue: Catalogue) -> int:
    items, orders, trends = catalogue.items, catalogue.orders, catalogue.trends(None)
    arrays = (
        *(items.media_vector_MD, items.media_id_M, items.author_row_M, items.created_at_ms_M),
        *(orders.quality_M, orders.posted_row_M, orders.newest_row_M),
        *(trends.value_M, trends.row_M, trends.topic_row, catalogue.media.now.table.vectors),
    )
    return sum(each.nbytes for each in arrays)


def test_takedowns_hold_in_the_shard_that_has_the_media(tmp_path: Path) -> None:
    file = tmp_path / "takedowns.txt"
    file.touch()
    engines = [RetrievalEngine(part, SourcingConfig(takedown_file=file)) for part in shards(2)]

    def found() -> list[int]:
        answers = [engine.retrieve(user(), [NOBODY_SAW], np.array([2_000])) for engine in engines]
        return sorted(media for each in answers for media in each.candidates.media_id_N.tolist())

    before = found()
    file.write_text(f"media {before[0]}\nmedia {before[-1]}\n")
    assert found() == before[1:-1]


def test_a_graph_is_built_anew_over_the_media_of_the_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "SCANNED", 100)
    vectors = ITEMS.media_vector_MD
    graph = faiss.IndexHNSWFlat(vectors.shape[1], 8, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction, graph.hnsw.efSearch = 60, 70
    graph.add(np.ascontiguousarray(vectors))
    own: Int64 = np.arange(0, len(vectors), 3)
    mine = VectorIndex(graph, np.arange(len(vectors)), vectors, "v1").only(own, vectors[own])
    searched = mine.now.table.searched
    assert isinstance(searched, faiss.IndexHNSWFlat)
    assert (searched.ntotal, searched.hnsw.efConstruction, searched.hnsw.efSearch) == (len(own), 60, 70)
    exact = VectorIndex(None, np.arange(len(own)), vectors[own], "v1")
    query_QE = vectors[:40]
    near_Qk, exact_Qk = mine.search(query_QE, 10)[0], exact.search(query_QE, 10)[0]
    assert np.mean([len(np.intersect1d(*pair)) / 10 for pair in zip(near_Qk, exact_Qk, strict=True)]) > 0.95


def test_codes_keep_what_was_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "SCANNED", 100)
    vectors = ITEMS.media_vector_MD
    cells = faiss.index_factory(vectors.shape[1], "IVF8,PQ2x4", faiss.METRIC_INNER_PRODUCT)
    cells.train(np.ascontiguousarray(vectors))
    cells.add(np.ascontiguousarray(vectors))
    own: Int64 = np.arange(0, len(vectors), 3)
    mine = VectorIndex(cells, np.arange(len(vectors)), vectors, "v1").only(own, vectors[own])
    assert (mine.now.table.searched.ntotal, cells.ntotal) == (len(own), len(vectors))
    assert mine.search(vectors[own[:5]], 1)[0].ravel().tolist() == [0, 1, 2, 3, 4]


def test_a_part_of_a_published_bundle_is_the_part_of_its_catalogue(tmp_path: Path) -> None:
    whole = Catalogue.open(publish(tmp_path))
    parts = [part_of(whole, Shard(index, 2)) for index in range(2)]
    found = [RetrievalEngine(part, SourcingConfig()).retrieve(user(), [NOBODY_SAW], np.array([50])) for part in parts]
    ids = [media for each in found for media in each.candidates.media_id_N.tolist()]
    assert sorted(ids) == [media for media in whole.items.media_id_M.tolist() if media != 402]

"""Item tables and embedding tables: look-ups, files, and what unknown rows give. Contexts: what they refuse."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.actions import Action
from features.assemble import candidate_view
from features.context import HISTORY_LENGTH, concatenate
from features.embeddings import ItemEmbeddings, sparse_input
from features.history import join_history
from features.item_table import MAX_POLICY_FLAGS, UNKNOWN_ROW, ItemTable
from features.relations import Relation, no_accounts, no_relations, relation_columns
from tests.features.worlds import DAY, User, contexts_of

HOUR = DAY // 24


@pytest.fixture
def embeddings() -> ItemEmbeddings:
    random = np.random.default_rng(1)
    media, account, topic = (random.normal(size=(n, 2)).astype(np.float32) for n in (6, 3, 2))
    return ItemEmbeddings(media, account, topic, np.arange(1, 7, dtype=np.float32))


def test_known_ids_give_their_row_and_unknown_ones_none(items: ItemTable) -> None:
    assert items.rows(np.array([60, 10, 5, 99, 35])).tolist() == [5, 0, UNKNOWN_ROW, UNKNOWN_ROW, UNKNOWN_ROW]


@given(
    st.sets(st.integers(1, 2**62), min_size=1, max_size=200),
    st.lists(st.integers(1, 2**62), max_size=100),
    st.randoms(use_true_random=False),
)
def test_many_ids_in_any_order_find_their_rows(
    items: ItemTable, held: set[int], strange: list[int], shuffled: Random
) -> None:
    ids = sorted(held)
    wanted = [*ids, *ids[:3], *strange]
    shuffled.shuffle(wanted)
    row_of = {media: row for row, media in enumerate(ids)}
    found_N = replace(items, media_id_M=np.array(ids)).rows(np.array(wanted))
    assert found_N.dtype == np.int64
    assert found_N.tolist() == [row_of.get(media, UNKNOWN_ROW) for media in wanted]


def test_an_empty_table_knows_no_id(items: ItemTable) -> None:
    empty = replace(items, media_id_M=np.empty(0, dtype=np.int64))
    assert empty.rows(np.array([10])).tolist() == [UNKNOWN_ROW]


def test_a_saved_table_opens_as_it_was_and_memory_mapped(items: ItemTable, tmp_path: Path) -> None:
    items = replace(items, policy_flags=("graphic", "nudity"), policy_flags_M=np.arange(6, dtype=np.uint32) % 4)
    items.save(tmp_path / "items")
    opened = ItemTable.open(tmp_path / "items")
    assert isinstance(opened.counts_MA.base, np.memmap)
    for field in fields(ItemTable):
        np.testing.assert_array_equal(getattr(opened, field.name), getattr(items, field.name))


def test_a_broken_column_is_named(items: ItemTable, tmp_path: Path) -> None:
    items.save(tmp_path)
    (tmp_path / "counts_MA.npy").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"counts_MA\.npy"):
        ItemTable.open(tmp_path)


def test_more_policy_flags_than_bits_are_refused(items: ItemTable) -> None:
    names = tuple(f"flag{number:02}" for number in range(MAX_POLICY_FLAGS + 1))
    assert replace(items, policy_flags=names[:-1]).policy_flags == names[:-1]
    with pytest.raises(ValueError, match=r"policy_flags has 33 names, at most 32; merge some of them"):
        replace(items, policy_flags=names)


def test_a_missing_column_is_named(items: ItemTable, tmp_path: Path) -> None:
    items.save(tmp_path)
    (tmp_path / "topic_M.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"topic_M\.npy"):
        ItemTable.open(tmp_path)


def test_histories_are_right_aligned_and_empty_slots_say_nothing(items: ItemTable) -> None:
    users = [User(), User([(30, Action.HIDE, DAY), (99, Action.LIKE, 5)])]
    history = join_history(contexts_of(users), items)
    assert history.row_BL[:, -3:].tolist() == [[-1, -1, -1], [-1, 2, -1]]
    assert history.action_BL[:, -3:].tolist() == [[0, 0, 0], [0, Action.HIDE, Action.LIKE]]
    assert history.age_ms_BL[:, -3:].tolist() == [[0, 0, 0], [0, DAY, 5]]
    assert history.author_BL[1, -2:].tolist() == [1, -1]
    assert (history.weight_BL != 0).sum() == 1


def test_a_longer_history_than_the_slots_keeps_the_newest(items: ItemTable) -> None:
    ages = range(HISTORY_LENGTH + 5, 0, -1)
    history = join_history(contexts_of([User([(10, Action.CLICK, age) for age in ages])]), items)
    assert history.age_ms_BL[0].tolist() == list(range(HISTORY_LENGTH, 0, -1))


def test_tastes_are_unit_vectors_or_zero(items: ItemTable) -> None:
    users = [User(), User([(10, Action.LIKE, 1), (30, Action.LIKE, 1)]), User([(60, Action.LIKE, 1)])]
    taste_BD = join_history(contexts_of(users), items).media_taste_BD(items)
    np.testing.assert_allclose(np.linalg.norm(taste_BD, axis=1), [0, 1, 0], atol=1e-6)


def test_likes_and_hides_that_cancel_leave_no_taste(items: ItemTable) -> None:
    user = User([(10, Action.SAVE, HOUR), (10, Action.HIDE, HOUR)])
    assert not join_history(contexts_of([user]), items).media_taste_BD(items).any()


def test_embeddings_are_media_then_author_then_topic(items: ItemTable, embeddings: ItemEmbeddings) -> None:
    expected = [embeddings.media_MK[2], embeddings.account_UK[1], embeddings.topic_TK[1]]
    np.testing.assert_array_equal(embeddings.gather(items, np.array([2]))[0], np.concatenate(expected))


def test_unknown_rows_and_topics_read_what_training_made_of_the_unknown(
    items: ItemTable, embeddings: ItemEmbeddings
) -> None:
    unknown, no_topic = embeddings.gather(items, np.array([UNKNOWN_ROW, 5]))
    assert unknown.tolist() == [1, 2, 3, 4, 5, 6]
    assert no_topic[:2].tolist() == embeddings.media_MK[5].tolist()
    assert no_topic[2:4].tolist() == embeddings.account_UK[items.author_row_M[5]].tolist()
    assert no_topic[4:].tolist() == [5, 6]


def test_nothing_but_unknown_rows_or_no_rows_at_all(items: ItemTable, embeddings: ItemEmbeddings) -> None:
    np.testing.assert_array_equal(
        embeddings.gather(items, np.full((2, 3), UNKNOWN_ROW)), np.broadcast_to(embeddings.unknown_K, (2, 3, 6))
    )
    assert embeddings.gather(items, np.zeros((0, 3), dtype=np.int64)).shape == (0, 3, 6)


def test_saved_embeddings_open_as_they_were(embeddings: ItemEmbeddings, tmp_path: Path) -> None:
    embeddings.save(tmp_path)
    opened = ItemEmbeddings.open(tmp_path)
    for field in fields(ItemEmbeddings):
        np.testing.assert_array_equal(getattr(opened, field.name), getattr(embeddings, field.name))


def test_tables_of_a_model_from_before_the_unknown_vector_open_with_zeros(
    embeddings: ItemEmbeddings, tmp_path: Path
) -> None:
    embeddings.save(tmp_path)
    (tmp_path / "unknown.npy").unlink()
    assert ItemEmbeddings.open(tmp_path).unknown_K.tolist() == [0] * 6


def test_a_table_that_holds_no_vectors_is_refused_by_name(embeddings: ItemEmbeddings, tmp_path: Path) -> None:
    embeddings.save(tmp_path)
    np.save(tmp_path / "topic.npy", np.zeros(3, dtype=np.float32))
    with pytest.raises(ValueError, match=r"topic\.npy has shape \(3,\)"):
        ItemEmbeddings.open(tmp_path)


def test_an_unknown_vector_of_another_width_is_refused(embeddings: ItemEmbeddings, tmp_path: Path) -> None:
    embeddings.save(tmp_path)
    np.save(tmp_path / "unknown.npy", np.zeros(5, dtype=np.float32))
    with pytest.raises(ValueError, match=r"unknown\.npy has shape \(5,\), expected \(6,\)"):
        ItemEmbeddings.open(tmp_path)


def test_the_sparse_input_holds_every_history_once(items: ItemTable, embeddings: ItemEmbeddings) -> None:
    users = [User(), User([(10, Action.LIKE, HOUR)])]
    view = candidate_view(contexts_of(users), items, np.array([1, 2, 3]), np.array([0, 1, 1]))
    sparse = sparse_input(view, embeddings)
    assert sparse.item_NK.shape == (3, 6)
    assert sparse.history_BLK.shape == (2, HISTORY_LENGTH, 6)
    np.testing.assert_array_equal(sparse.history_BLK[1, -1], embeddings.gather(items, np.array([0]))[0])
    assert sparse.history_age_BL[1, -1] == pytest.approx(np.log(2))
    np.testing.assert_array_equal(sparse.history_BLK[0], np.broadcast_to(embeddings.unknown_K, (HISTORY_LENGTH, 6)))
    assert not sparse.history_action_BL[0].any()


@pytest.mark.parametrize(
    "column",
    [
        *("surfaces", "history_action_H", "n_following_B", "history_offsets"),
        *("account_id_B", "relation_offsets", "relation_account_id_R", "relation_kind_R"),
    ],
)
def test_a_context_column_of_the_wrong_length_is_named(column: str) -> None:
    muted = relation_columns([no_accounts() | {Relation.MUTED: np.array([1])}])
    contexts = replace(contexts_of([User([(10, Action.LIKE, 1)])]), **muted)
    with pytest.raises(ValueError, match=column):
        replace(contexts, **{column: getattr(contexts, column)[:0]})


def test_offsets_that_decrease_are_refused() -> None:
    contexts = contexts_of([User([(10, Action.LIKE, 1)]), User()])
    with pytest.raises(ValueError, match="never decrease"):
        replace(contexts, history_offsets=np.array([0, 2, 1]))


def test_a_batch_of_batches_keeps_every_users_relations() -> None:
    follows = no_accounts() | {Relation.FOLLOWED: np.array([5, 4])}
    blocks = no_accounts() | {Relation.BLOCKED: np.array([6])}
    parts = [
        replace(contexts_of([User(), User()]), **relation_columns([follows, blocks]), account_id_B=np.array([0, 8])),
        replace(contexts_of([User()]), **relation_columns([blocks])),
    ]
    both = concatenate(parts)
    assert both.relation_offsets.tolist() == [0, 2, 3, 4]
    assert both.relation_account_id_R.tolist() == [5, 4, 6, 6]
    assert both.relation_kind_R.tolist() == [1, 1, 3, 3]
    assert both.account_id_B.tolist() == [0, 8, 0]


def test_no_users_have_no_relations() -> None:
    assert no_relations(0)["relation_offsets"].tolist() == [0]

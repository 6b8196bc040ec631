"""Media vectors learn planted tastes, and training pools histories as serving does. Account vectors: test_ig2vec.py."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from features.actions import Action
from features.history import History, join_history
from tests.training.logs import HOUR, MINUTE, START, Event, dataset, planted, table_of
from training.contexts import ContextLog
from training.datasets import Dataset
from training.embedding_table import DistinctRows, EmbeddingTable
from training.event_log import EventLog
from training.two_tower import Positives, TwoTowerConfig, next_positive_recall, pool, positives, train_media_vectors

TOWERS = TwoTowerConfig(dim=8, epochs=4, batch=128, learning_rate=0.1)


@pytest.fixture(scope="module")
def world() -> Dataset:
    return planted()


def test_vectors_do_not_see_events_after_their_end(world: Dataset) -> None:
    end_ms = START + 2000 * MINUTE
    before = world.events.filter(world.events["event_time"].dt.epoch("ms") < end_ms)
    whole, part = EventLog.from_dataset(world), EventLog.from_dataset(replace(world, events=before))
    items = table_of(world)
    towers = [
        train_media_vectors(log, ContextLog(log, world.users), items, end_ms=end_ms, config=TOWERS)
        for log in (whole, part)
    ]
    np.testing.assert_array_equal(towers[0], towers[1])


def test_without_events_all_vectors_are_zero(world: Dataset) -> None:
    log = EventLog.from_dataset(world)
    assert not train_media_vectors(
        log, ContextLog(log, world.users), table_of(world), end_ms=START, config=TOWERS
    ).any()


def test_a_target_is_not_in_its_own_history() -> None:
    events = [
        Event("ann", item, action, place)
        for place, (item, action) in enumerate(
            [(10, Action.CLICK), (20, Action.CLICK), (20, Action.LIKE), (30, Action.IMPRESSION), (30, Action.SAVE)]
        )
    ]
    data = dataset(events, {10: "a", 20: "b", 30: "c"})
    log = EventLog.from_dataset(data)
    found = positives(log, ContextLog(log, data.users), table_of(data), start_ms=0, end_ms=START + HOUR)
    assert found.target_P.tolist() == [1, 2]
    assert [row_L[row_L >= 0].tolist() for row_L in found.history_row_PL] == [[0], [0, 1, 1]]


def test_training_pools_a_history_exactly_as_serving_does(world: Dataset) -> None:
    log, items = EventLog.from_dataset(world), table_of(world)
    random = np.random.default_rng(0).normal(size=(len(items.media_id_M), 8)).astype(np.float32)
    items = replace(items, media_vector_MD=random / np.linalg.norm(random, axis=1, keepdims=True))
    user_B = np.arange(1, len(log.user_ids))
    contexts = ContextLog(log, world.users).at(user_B, np.full(len(user_B), world.as_of_ms), [""] * len(user_B))
    history: History = join_history(contexts, items)
    row_PL = torch.from_numpy(np.maximum(history.row_BL, 0))
    taste_PD = pool(row_PL, torch.from_numpy(history.weight_BL), torch.from_numpy(items.media_vector_MD))
    np.testing.assert_allclose(taste_PD.numpy(), history.media_taste_BD(items), atol=1e-5)


def test_media_vectors_find_the_next_positive_better_than_popularity(world: Dataset) -> None:
    log, items = EventLog.from_dataset(world), table_of(world)
    contexts, end_ms = ContextLog(log, world.users), START + 3000 * MINUTE
    vector_MD = train_media_vectors(log, contexts, items, end_ms=end_ms, config=TOWERS)
    np.testing.assert_allclose(np.linalg.norm(vector_MD, axis=1), 1, atol=1e-5)
    future = positives(log, contexts, items, start_ms=end_ms, end_ms=world.as_of_ms)
    recall, popular = next_positive_recall(vector_MD, items, future, k=40)
    assert recall > 0.8
    assert popular < 0.5


def test_cold_media_get_author_and_topic() -> None:
    events = [Event(user, item, Action.CLICK, place) for user in "ab" for place, item in enumerate([10, 20, 30])]
    data = dataset(
        sorted(events, key=lambda event: event.minute), {10: "a", 20: "b", 30: "a", 11: "a", 41: "b", 51: None}
    )
    log = EventLog.from_dataset(data)
    vector_MD = train_media_vectors(
        log, ContextLog(log, data.users), table_of(data), end_ms=START + HOUR, config=TOWERS
    )
    cold = {media: vector_MD[log.media_id_M.tolist().index(media)] for media in (11, 41, 51)}
    assert np.linalg.norm(cold[11]) == pytest.approx(1)
    assert np.linalg.norm(cold[41]) == pytest.approx(1)
    assert not cold[51].any()


def test_recall_counts_only_media_that_exist_and_are_not_in_the_history() -> None:
    items = replace(
        table_of(dataset([Event("ann", 10, Action.CLICK, 0)], {10: "a", 11: "a", 12: "a"})),
        created_at_ms_M=np.array([0, 0, 9]),
    )
    vector_MD = np.eye(3, 2, dtype=np.float32)
    history = np.array([[0]], dtype=np.int32), np.ones((1, 1), dtype=np.float32)
    example = Positives(np.array([1]), np.array([0]), np.array([5]), *history)
    assert next_positive_recall(vector_MD, items, example, k=1)[0] == 1


def test_distinct_rows_are_those_of_unique() -> None:
    rows = torch.tensor([5, 1, 5, 0, 1])
    distinct, place = DistinctRows(9).of(rows)
    assert distinct.tolist() == [0, 1, 5]
    assert distinct[place].tolist() == rows.tolist()


def test_a_step_moves_the_rows_of_the_batch_only() -> None:
    table = EmbeddingTable(torch.ones(4, 2), learning_rate=0.5)
    table.look_up(torch.tensor([1, 1, 3])).sum().backward()  # type: ignore[no-untyped-call]
    table.step()
    assert table.value_RD[:, 0].tolist() == pytest.approx([1, 0.5, 1, 0.5])

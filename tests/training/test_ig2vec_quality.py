"""The evaluation tells planted topics from noise, frequent accounts from near ones, and says NaN where it cannot tell."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from features.actions import Action
from tests.training.logs import Event, dataset, planted, table_of
from training.event_log import EventLog
from training.ig2vec import Ig2vecConfig, Sessions, sessions, train_account_vectors, train_vectors
from training.ig2vec_quality import (
    control_vectors,
    evaluate,
    last_steps,
    linear_probe,
    macro_f1,
    main_topics,
    neighbour_quality,
    next_accounts,
)

SMALL = Ig2vecConfig(dim=8, epochs=10, batch=256, shared_noise=16, learning_rate=0.2)
TOPICS, PER_TOPIC = 4, 12
TOPIC_U = np.repeat(np.arange(TOPICS), PER_TOPIC)
NOBODY = np.empty(0, dtype=np.int64)


def made_sessions(count: int, seed: int, popular: int | None = None) -> Sessions:
    """Sessions of six accounts of one topic; `popular` takes part in every other one, whatever the topic."""
    random = np.random.default_rng(seed)
    account_SA = random.integers(0, TOPICS, (count, 1)) * PER_TOPIC + random.integers(0, PER_TOPIC, (count, 6))
    if popular is not None:
        account_SA[::2, 2] = popular
    return Sessions(account_SA.ravel(), np.repeat(np.arange(count), 6))


@pytest.fixture(scope="module")
def vector_UE() -> NDArray[np.float32]:
    return train_vectors(made_sessions(800, seed=0), len(TOPIC_U), SMALL)


def test_a_linear_probe_reads_planted_topics_and_nothing_from_shuffled_sessions(vector_UE: NDArray[np.float32]) -> None:
    probe = linear_probe(vector_UE, TOPIC_U)
    shuffled = linear_probe(control_vectors(made_sessions(800, seed=0), len(TOPIC_U), SMALL), TOPIC_U)
    assert probe.macro_f1 > 0.95
    assert probe.majority == pytest.approx(2 * 12 / (48 + 12) / TOPICS)
    assert (probe.accounts, probe.topics) == (48, 4)
    assert shuffled.macro_f1 < 0.5


def test_the_whole_evaluation_agrees_with_its_parts(vector_UE: NDArray[np.float32]) -> None:
    tokens, later = made_sessions(800, seed=0), made_sessions(100, seed=1)
    found = evaluate(vector_UE, TOPIC_U, tokens=tokens, later=later, config=SMALL)
    assert repr(found) == repr(
        evaluate(vector_UE, TOPIC_U, tokens=tokens, later=later, config=SMALL)
    )  # NaN is not itself
    assert found.probe == linear_probe(vector_UE, TOPIC_U)
    assert found.probe.macro_f1 > 2 * found.probe_shuffled_macro_f1
    assert found.neighbours.purity > 0.9
    assert found.next_at_50.rows == 100


def test_a_long_log_compares_vectors_of_its_last_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = made_sessions(300, seed=0)
    monkeypatch.setattr("training.ig2vec_quality._CONTROL_TOKENS", 600)
    last = tokens.kept(np.arange(len(tokens)) >= len(tokens) - 600)
    found = evaluate(
        np.zeros((len(TOPIC_U), 8), np.float32), TOPIC_U, tokens=tokens, later=Sessions(NOBODY, NOBODY), config=SMALL
    )
    assert found.probe == linear_probe(train_vectors(last, len(TOPIC_U), SMALL), TOPIC_U)


def test_accounts_of_one_topic_become_neighbours() -> None:
    world = planted()
    log = EventLog.from_dataset(world)
    topic_U = main_topics(table_of(world))
    quality = neighbour_quality(train_account_vectors(log, world.as_of_ms, SMALL), topic_U, k=5)
    assert quality.purity > 0.9
    assert quality.chance == pytest.approx(0.25)
    assert quality.coverage == 1
    assert quality.hubness < 0.6


def test_an_account_that_everybody_visits_is_not_everybodys_neighbour() -> None:
    tokens = made_sessions(800, seed=0, popular=5)
    vector_UE = train_vectors(tokens, len(TOPIC_U), SMALL)
    close_UU = vector_UE @ vector_UE.T
    np.fill_diagonal(close_UU, -np.inf)
    near_UK = np.argsort(-close_UU, axis=1)[:, :5]
    assert (near_UK == 5).any(axis=1).mean() < 0.5
    assert neighbour_quality(vector_UE, TOPIC_U, k=5).purity > 0.8


def test_a_hub_shows_in_share_and_skewness() -> None:
    even_UE = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    hub_UE = even_UE + 8 * np.eye(1, 64, dtype=np.float32)  # everyone leans to one side ...
    hub_UE[0] = 16 * np.eye(1, 64)  # ... where the first account stands
    even, hub = (neighbour_quality(vectors, np.zeros(200, dtype=np.int64), k=5) for vectors in (even_UE, hub_UE))
    assert hub.hubness > 0.9
    assert even.hubness < 0.2
    assert hub.hub_skewness > even.hub_skewness + 2


def test_the_next_account_is_found_among_its_topic(vector_UE: NDArray[np.float32]) -> None:
    count_U = np.bincount(made_sessions(800, seed=0).account_A, minlength=len(TOPIC_U))
    later = made_sessions(400, seed=1)
    found = next_accounts(vector_UE, count_U, later, k=PER_TOPIC - 1)
    assert found.recall > 0.8
    assert found.popularity < 0.4
    assert found.beyond_popular > 0.8


def test_recall_counts_hits_of_the_last_step_and_never_the_account_itself() -> None:
    later = Sessions(np.array([3, 0, 1, 2, 2, 0]), np.array([7, 7, 7, 8, 9, 9]))
    query_R, target_R = last_steps(later)
    assert (query_R.tolist(), target_R.tolist()) == ([0, 2], [1, 0])
    angles = np.array([0.0, 0.1, 3.0])
    vector_UE = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    vector_UE = np.vstack([vector_UE, np.zeros(2, np.float32)])
    found = next_accounts(vector_UE, np.array([1, 1, 5, 0]), later, k=1)
    assert (found.recall, found.popularity, found.rows) == (0.5, 0.5, 2)
    unseen = Sessions(np.array([0, 3, 3, 0]), np.array([0, 0, 1, 1]))
    assert next_accounts(vector_UE, np.array([1, 1, 5, 0]), unseen, k=4).recall == 0


def test_macro_f1_is_the_mean_over_classes() -> None:
    assert macro_f1(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])) == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)


def test_where_nothing_can_be_judged_measures_are_nan() -> None:
    vector_UE = np.zeros((20, 4), np.float32)
    topic_U = np.full(20, -1)
    empty = Sessions(NOBODY, NOBODY)
    found = evaluate(vector_UE, topic_U, tokens=empty, later=empty, config=SMALL)
    assert np.isnan([found.probe.macro_f1, found.probe.majority, found.probe_shuffled_macro_f1]).all()
    assert np.isnan([found.neighbours.purity, found.neighbours.chance, found.neighbours.hubness]).all()
    assert np.isnan([found.next_at_50.recall, found.next_at_50.popularity, found.next_at_50.beyond_popular]).all()
    assert (found.neighbours.coverage, found.next_at_50.rows, found.probe.accounts) == (0, 0, 0)


def test_one_topic_has_purity_and_no_probe(vector_UE: NDArray[np.float32]) -> None:
    topic_U = np.zeros(len(TOPIC_U), dtype=np.int64)
    assert np.isnan(linear_probe(vector_UE, topic_U).macro_f1)
    quality = neighbour_quality(vector_UE, topic_U)
    assert (quality.purity, quality.chance) == (1, 1)


def test_rare_topics_are_left_out_of_the_probe(vector_UE: NDArray[np.float32]) -> None:
    topic_U = TOPIC_U.copy()
    topic_U[-PER_TOPIC:-3] = -1
    assert (linear_probe(vector_UE, topic_U).accounts, linear_probe(vector_UE, topic_U).topics) == (36, 3)


def test_the_main_topic_is_that_of_most_media() -> None:
    media = {10: "a", 11: "b", 12: "b", 20: None}
    items = table_of(dataset([Event("ann", 10, Action.CLICK, 0)], media))
    assert main_topics(items).tolist() == [1, -1]
    assert main_topics(replace(items, topics=())).tolist() == [-1, -1]


def test_main_topics_need_no_memory_for_topics_that_an_account_does_not_have() -> None:
    media: dict[int, str | None] = {
        10 * account + place: f"t{account + place // 2}" for account in range(1, 2_001) for place in range(3)
    }
    items = table_of(dataset([Event("ann", 10, Action.CLICK, 0)], media))
    many = replace(items, topics=items.topics + tuple(f"rare {number}" for number in range(10_000_000)))
    tracemalloc.start()
    topic_U = main_topics(many)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [many.topics[topic] for topic in topic_U.tolist()] == [f"t{account}" for account in range(1, 2_001)]
    assert peak < 10e6  # accounts times topics are 160 GB


def test_later_sessions_are_those_after_the_window() -> None:
    world = planted()
    log, end_ms = EventLog.from_dataset(world), world.as_of_ms - 3_600_000 * 9
    before, after = (
        sessions(log, until, 60_000, start_ms=since) for until, since in ((end_ms, 0), (world.as_of_ms, end_ms))
    )
    assert len(before) + len(after) == pytest.approx(len(sessions(log, world.as_of_ms, 60_000)), abs=5)

"""Sessions, windows and skip-gram: what is paired with what, and that training repeats and never looks ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.actions import Action
from tests.training.logs import HOUR, MINUTE, START, Event, dataset, planted
from training.datasets import Dataset
from training.event_log import EventLog
from training.ig2vec import (
    Ig2vecConfig,
    Sessions,
    _SkipGram,
    sessions,
    train_account_vectors,
    train_vectors,
    window_pairs,
)

SMALL = Ig2vecConfig(dim=8, epochs=10, batch=256, shared_noise=16, learning_rate=0.2)


def clicks(*visits: tuple[str, int, float]) -> EventLog:
    events = [Event(user, account * 10, Action.CLICK, minute) for user, account, minute in visits]
    return EventLog.from_dataset(dataset(events, {account * 10: "a" for account in range(1, 5)}))


@pytest.fixture(scope="module")
def world() -> Dataset:
    return planted()


def test_a_pause_or_another_user_ends_a_session() -> None:
    log = clicks(("ann", 1, 0), ("ann", 2, 29), ("ann", 3, 59), ("bob", 4, 60))
    tokens = sessions(log, START + HOUR * 9, 30 * MINUTE)
    assert tokens.account_A.tolist() == [0, 1, 2, 3]
    assert np.diff(tokens.session_A).tolist() == [0, 1, 1]


def test_repeats_in_a_row_count_once_within_a_session() -> None:
    log = clicks(("ann", 1, 0), ("ann", 1, 1), ("ann", 2, 2), ("ann", 1, 3), ("ann", 1, 90))
    assert sessions(log, START + HOUR * 9, 30 * MINUTE).account_A.tolist() == [0, 1, 0, 0]


def test_sessions_lie_between_the_given_moments() -> None:
    log = clicks(("ann", 1, 0), ("ann", 2, 1), ("ann", 3, 2))
    assert sessions(log, START + MINUTE, 30 * MINUTE).account_A.tolist() == [0]
    found = sessions(log, START + 2 * MINUTE, 30 * MINUTE, start_ms=START + MINUTE)
    assert found.account_A.tolist() == [1]


def test_only_the_latest_tokens_are_used() -> None:
    log = clicks(("ann", 1, 0), ("bob", 2, 1), ("ann", 3, 2))
    assert sessions(log, START + HOUR, 30 * MINUTE, max_tokens=2).account_A.tolist() == [2, 1]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.integers(1, 10), st.integers(0, 99))
def test_no_window_crosses_a_session(lengths: list[int], window: int, seed: int) -> None:
    session_A = np.repeat(np.arange(len(lengths)), lengths)
    places = Sessions(np.arange(len(session_A)), session_A)
    centre_P, context_P = window_pairs(places, window, np.random.default_rng(seed))
    assert (session_A[centre_P] == session_A[context_P]).all()
    distance_P = np.abs(centre_P - context_P)
    assert ((distance_P > 0) & (distance_P <= window)).all()
    # The nearest token is within every reach, so both directions of every step inside a session are there.
    assert (distance_P == 1).sum() == 2 * (np.diff(session_A) == 0).sum()


def test_a_window_of_one_pairs_neighbours_in_both_directions() -> None:
    log = clicks(("ann", 1, 0), ("ann", 2, 1), ("ann", 3, 2))
    pairs = window_pairs(sessions(log, START + HOUR, 30 * MINUTE), 1, np.random.default_rng(0))
    assert sorted(zip(*map(list, pairs), strict=True)) == [(0, 1), (1, 0), (1, 2), (2, 1)]


def test_shuffling_keeps_counts_and_lengths_and_mixes_sessions() -> None:
    tokens = Sessions(np.repeat(np.arange(30), 10), np.repeat(np.arange(30), 10))
    mixed = tokens.shuffled(0)
    np.testing.assert_array_equal(np.bincount(mixed.account_A), np.bincount(tokens.account_A))
    np.testing.assert_array_equal(mixed.session_A, tokens.session_A)
    assert (mixed.account_A == mixed.session_A).mean() < 0.2


def test_account_vectors_are_unit_or_zero_and_repeatable() -> None:
    """Whoever is alone in every session meets nobody, and a random start is no vector."""
    log = clicks(*((user, media, minute) for user in ("ann", "bob") for media, minute in ((1, 0), (2, 1), (3, 100))))
    vector_UE = train_account_vectors(log, START + HOUR * 9, SMALL)
    np.testing.assert_allclose(np.linalg.norm(vector_UE, axis=1), [1, 1, 0, 0], atol=1e-6)
    np.testing.assert_array_equal(vector_UE, train_account_vectors(log, START + HOUR * 9, SMALL))
    assert not np.array_equal(vector_UE, train_account_vectors(log, START + HOUR * 9, replace(SMALL, seed=1)))


def test_account_vectors_do_not_see_events_after_their_end(world: Dataset) -> None:
    end_ms = START + 2000 * MINUTE
    before = world.events.filter(world.events["event_time"].dt.epoch("ms") < end_ms)
    logs = EventLog.from_dataset(world), EventLog.from_dataset(replace(world, events=before))
    whole_UE, part_UE = (train_account_vectors(log, end_ms, SMALL) for log in logs)
    np.testing.assert_array_equal(whole_UE, part_UE)


def test_without_events_all_account_vectors_are_zero(world: Dataset) -> None:
    assert not train_account_vectors(EventLog.from_dataset(world), START, SMALL).any()


def test_subsampling_can_take_every_pair() -> None:
    tokens = Sessions(np.array([0, 1, 0, 1]), np.zeros(4, dtype=np.int64))
    assert not train_vectors(tokens, 3, replace(SMALL, subsample=1e-12)).any()


def test_the_written_gradient_is_that_of_the_loss() -> None:
    config = replace(SMALL, shared_noise=5)
    generator = torch.Generator().manual_seed(7)
    model, count = _SkipGram(np.array([3, 1, 4, 1, 5, 9]), config), 6
    centres_UE = torch.randn((count, config.dim), generator=generator)
    contexts_UE = torch.randn((count, config.dim), generator=generator)
    model._centres.value_RD, model._contexts.value_RD = centres_UE.clone(), contexts_UE.clone()
    centre_P, context_P, noise_K = torch.tensor([2, 0, 2, 5]), torch.tensor([1, 1, 3, 2]), torch.tensor([1, 4, 4, 0, 3])
    model._noise = lambda: noise_K  # type: ignore[method-assign]
    model.step(centre_P, context_P)

    wanted = []
    for table_UE in (centres_UE, contexts_UE):
        table_UE.requires_grad_()
    product_PK = centres_UE[centre_P] @ contexts_UE[noise_K].T
    pair_P = (centres_UE[centre_P] * contexts_UE[context_P]).sum(1)
    loss = torch.nn.functional.softplus(-pair_P).sum()
    loss = loss + torch.nn.functional.softplus(product_PK).sum() * config.negatives / len(noise_K)
    for gradient_UE in torch.autograd.grad(loss, (centres_UE, contexts_UE)):
        size_U1 = gradient_UE.square().mean(dim=1, keepdim=True)
        wanted.append(
            -config.learning_rate * gradient_UE / (size_U1 + 1e-10).sqrt()
        )  # the first step of row-wise Adagrad
    moved = model._centres.value_RD - centres_UE.detach(), model._contexts.value_RD - contexts_UE.detach()
    for moved_UE, wanted_UE in zip(moved, wanted, strict=True):
        torch.testing.assert_close(moved_UE, wanted_UE, atol=1e-5, rtol=1e-4)

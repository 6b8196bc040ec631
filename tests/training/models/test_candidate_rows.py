"""Batches of whole requests, cut out of a ranking set."""

from __future__ import annotations

import numpy as np

from features.schema import Stage
from tests.training.models.worlds import N_MEDIA, item_table, ranking_set
from training.models.candidate_rows import Batcher
from training.models.id_embeddings import EmbeddingConfig, IdEmbeddings, occurrences

ROWS = ranking_set(9, per_request=4)


def test_a_batch_holds_the_candidates_of_its_requests_and_their_place_in_it() -> None:
    candidate_N, place_N = Batcher(ROWS, Stage.RANK).candidates_of(np.array([2, 5]))
    assert candidate_N.tolist() == [8, 9, 10, 11, 20, 21, 22, 23]
    assert place_N.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_requests_without_candidates_take_no_place() -> None:
    rows = ROWS.select(slice(None))
    rows.request_N[rows.request_N == 3] = 4
    candidate_N, place_N = Batcher(rows, Stage.RANK).candidates_of(np.array([3, 4]))
    assert candidate_N.tolist() == list(range(12, 20))
    assert set(place_N.tolist()) == {1}


def test_all_requests_cover_every_request_once() -> None:
    batches = list(Batcher(ROWS, Stage.RANK).all_requests(rows=8))
    assert np.concatenate(batches).tolist() == list(range(9))
    assert len(batches) > 1


def test_slots_that_nobody_uses_are_left_out() -> None:
    embeddings = IdEmbeddings(item_table(), occurrences(N_MEDIA, ROWS.row_N), EmbeddingConfig())
    _, inputs = Batcher(ROWS, Stage.RERANK).deep_inputs(np.arange(9), embeddings)
    assert inputs[3].shape[1] == (ROWS.history_action_BL > 0).sum(axis=1).max()
    _, of_nobody = Batcher(ROWS, Stage.RERANK).deep_inputs(np.array([0, 8]), embeddings)
    assert of_nobody[3].tolist() == [[0], [0]]

"""Inputs of the exported graphs, named and shaped as serving will feed them: real candidates, then the odd ones.

Shapes: N candidates, B users, F features, K item embedding, L history slots, S related slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from features.context import HISTORY_LENGTH
from features.counters import HOUR_MS
from features.embeddings import ItemEmbeddings
from features.item_table import UNKNOWN_ROW, ItemTable
from features.related import RELATED_SLOTS
from features.schema import Stage
from training.models.candidate_rows import Batcher, CandidateRows

Inputs = Mapping[str, NDArray[np.generic]]
Int64 = NDArray[np.int64]

_REQUESTS = 96  # enough candidates to meet every branch of a graph, few enough to compare within a second
_PER_BATCH = 8
_ODD = (np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0)


def dense_inputs(rows: CandidateRows, stage: Stage) -> Iterator[Inputs]:
    """Input of prerank and rank: requests spread over `rows` in batches, one candidate alone, and what no log contains."""
    batcher = Batcher(rows, stage)
    for request_R in _spread(len(rows.history_row_BL)):
        yield dense_batch(batcher, request_R)
    yield {"dense_NF": _odd(len(batcher.columns))}


def deep_inputs(rows: CandidateRows, items: ItemTable, tables: ItemEmbeddings) -> Iterator[Inputs]:
    """Input of rerank in the same batches; odd candidates have no history."""
    batcher = Batcher(rows, Stage.RERANK)
    for request_R in _spread(len(rows.history_row_BL)):
        yield deep_batch(batcher, items, tables, request_R)
    dense_NF = _odd(len(batcher.columns))
    shape_NS = (len(dense_NF), RELATED_SLOTS)
    unknown_BL = np.full((1, HISTORY_LENGTH), UNKNOWN_ROW, dtype=np.int64)
    yield {
        "dense_NF": dense_NF,
        "item_NK": tables.gather(items, np.full(len(dense_NF), UNKNOWN_ROW, dtype=np.int64)),
        "history_BLK": tables.gather(items, unknown_BL),
        "history_action_BL": np.zeros((1, HISTORY_LENGTH), dtype=np.int64),
        "history_age_BL": np.zeros((1, HISTORY_LENGTH), dtype=np.float32),
        "user_N": np.zeros(len(dense_NF), dtype=np.int64),
        "related_NSK": tables.gather(items, np.full(shape_NS, UNKNOWN_ROW, dtype=np.int64)),
        "related_action_NS": np.zeros(shape_NS, dtype=np.int64),
        "related_age_NS": np.zeros(shape_NS, dtype=np.float32),
    }


def stage_batches(rows: CandidateRows, stage: Stage, items: ItemTable, tables: ItemEmbeddings) -> Iterator[Inputs]:
    """Input of any stage's graph for every candidate once, in order. `items` and `tables` number media as `rows` does."""
    batcher = Batcher(rows, stage)
    for request_R in batcher.all_requests():
        if stage is Stage.RERANK:
            yield deep_batch(batcher, items, tables, request_R)
        else:
            yield dense_batch(batcher, request_R)


def dense_batch(batcher: Batcher, request_R: Int64) -> Inputs:
    """Input of prerank and rank for the candidates of some requests."""
    return {"dense_NF": batcher.dense(batcher.candidates_of(request_R)[0]).numpy()}


def deep_batch(batcher: Batcher, items: ItemTable, tables: ItemEmbeddings, request_R: Int64) -> Inputs:
    """Input of rerank for the candidates of some requests, gathered from the tables as serving does.

    Whoever feeds a deep graph from logged rows, does it through here: a new input is added in this place.
    """
    rows = batcher.rows
    candidate_N, place_N = batcher.candidates_of(request_R)
    row_N = candidate_N.numpy()
    return {
        "dense_NF": batcher.dense(candidate_N).numpy(),
        "item_NK": tables.gather(items, rows.row_N[row_N]),
        "history_BLK": tables.gather(items, rows.history_row_BL[request_R].astype(np.int64)),
        "history_action_BL": rows.history_action_BL[request_R].astype(np.int64),
        "history_age_BL": np.log1p(rows.history_age_ms_BL[request_R] / HOUR_MS).astype(np.float32),
        "user_N": place_N.numpy(),
        "related_NSK": tables.gather(items, rows.related_row_NS[row_N].astype(np.int64)),
        "related_action_NS": rows.related_action_NS[row_N].astype(np.int64),
        "related_age_NS": np.log1p(rows.related_age_hours_NS[row_N]),
    }


def _spread(n_requests: int) -> Iterator[NDArray[np.int64]]:
    chosen = (
        np.unique(np.linspace(0, n_requests - 1, _REQUESTS, dtype=np.int64)) if n_requests else np.empty(0, np.int64)
    )
    for start in range(0, len(chosen), _PER_BATCH):
        yield chosen[start : start + _PER_BATCH]
    yield chosen[:1]


def _odd(n_features: int) -> NDArray[np.float32]:
    return np.repeat(np.array(_ODD, dtype=np.float32)[:, None], n_features, axis=1)

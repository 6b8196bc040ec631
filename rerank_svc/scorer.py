"""Scores candidates with the deep multi-task network. Knows a bundle and numpy; knows neither messages nor gRPC.

Shapes: B users, N candidates of all users, K candidates that the item table knows (as a suffix of embedding columns: their width),
F features of this stage, L history slots, T tasks.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from bundles import layout
from bundles.bundle import Bundle
from bundles.errors import BundleCorrupt
from features.assemble import assemble, candidate_view
from features.context import UserContexts
from features.dense import FEATURES, FINGERPRINT
from features.embeddings import ItemEmbeddings, sparse_input
from features.item_table import ItemTable
from features.schema import Stage, of_stage
from features.user_state import EMPTY
from features.view import View
from serving.columns import CandidateColumns, Float32
from serving.errors import ModelUnreadable
from serving.onnx_session import open_session
from serving.scorer import Scored, Weights, expected_value_N

STAGE_FEATURES = of_stage(FEATURES, Stage.RERANK)
INPUTS = ["dense_NF", "item_NK", "history_BLK", "history_action_BL", "history_age_BL", "user_N"]
OUTPUT = "probability_NT"

Feed = dict[str, np.ndarray]


class RerankScorer:
    """The score is the expected value: the sum over tasks of the arm's weight x P(task)."""

    def __init__(self, items: ItemTable, embeddings: ItemEmbeddings, session: Any, tasks: tuple[str, ...]) -> None:
        self.tasks = tasks
        self._items, self._embeddings, self._session = items, embeddings, session

    @classmethod
    def open(cls, bundle: Bundle, threads: int = 1) -> RerankScorer:
        """The scorer of a verified bundle, warmed up. Raises BundleError or ModelUnreadable, naming file and mismatch."""
        items, embeddings = _open_tables(bundle)
        path = bundle.file(layout.model(Stage.RERANK))
        session = open_session(path, threads)
        _check_graph(path, session, bundle.manifest.tasks, _width(embeddings))
        scorer = cls(items, embeddings, session, bundle.manifest.tasks)
        scorer._warm_up(path)
        return scorer

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        """Value and task probabilities of every candidate, NaN for media that the item table does not know."""
        start = time.perf_counter()
        row_N = self._items.rows(candidates.media_id_N)
        known_K = np.flatnonzero(row_N >= 0)
        user_N = np.repeat(np.arange(len(contexts)), np.diff(candidates.offsets))
        feed = self._feed(candidate_view(contexts, self._items, row_N[known_K], user_N[known_K]))
        assembled = time.perf_counter()
        probability_NT = np.full((len(row_N), len(self.tasks)), np.nan, dtype=np.float32)
        if len(known_K):
            probability_NT[known_K] = self._predict(feed)
        score_N = expected_value_N(probability_NT, weight_BT, candidates.offsets)
        done = time.perf_counter()
        return Scored(score_N, probability_NT, round((assembled - start) * 1e6), round((done - assembled) * 1e6))

    def _feed(self, view: View) -> Feed:
        sparse = sparse_input(view, self._embeddings)
        return {
            "dense_NF": assemble(view, STAGE_FEATURES),
            "item_NK": sparse.item_NK,
            "history_BLK": sparse.history_BLK,
            "history_action_BL": sparse.history_action_BL,
            "history_age_BL": sparse.history_age_BL,
            "user_N": view.user_N.astype(np.int64),
        }

    def _predict(self, feed: Feed) -> Float32:
        return self._session.run([OUTPUT], feed)[0]

    def _warm_up(self, path: Path) -> None:
        """The first run is slow, and shows what a graph does not declare."""
        row_N = np.zeros(min(2, len(self._items.media_id_M)), dtype=np.int64)
        view = candidate_view(EMPTY.context("warm-up", self._items.as_of_ms, ""), self._items, row_N, row_N)
        expected = (len(row_N), len(self.tasks))
        try:
            found = self._predict(self._feed(view)).shape if len(row_N) else expected
        except Exception as error:  # onnxruntime's exceptions have no common base class
            raise ModelUnreadable(path, f"does not run: {error}") from error
        if found != expected:
            raise ModelUnreadable(path, f"{OUTPUT} has shape {found}, the tasks of the manifest need {expected}")


def _open_tables(bundle: Bundle) -> tuple[ItemTable, ItemEmbeddings]:
    try:
        directory = layout.ITEMS
        items = ItemTable.open(bundle.path / directory)
        directory = layout.RERANK_EMBEDDINGS
        embeddings = ItemEmbeddings.open(bundle.path / directory)
    except (OSError, ValueError, KeyError) as error:
        raise BundleCorrupt(bundle.version, directory, f"cannot be read: {error}") from error
    for name, table, rows in (
        ("media", embeddings.media_MK, len(items.media_id_M)),
        ("account", embeddings.account_UK, len(items.account_id_U)),
        ("topic", embeddings.topic_TK, len(items.topics)),
    ):
        if table.ndim != 2 or len(table) != rows:
            problem = f"has shape {table.shape}, expected {rows} rows, as the item table"
            raise BundleCorrupt(bundle.version, f"{directory}/{name}.npy", problem)
    return items, embeddings


def _width(embeddings: ItemEmbeddings) -> int:
    return sum(table.shape[1] for table in (embeddings.media_MK, embeddings.account_UK, embeddings.topic_TK))


def _check_graph(path: Path, session: Any, tasks: tuple[str, ...], width: int) -> None:
    """Raises ModelUnreadable unless the graph is what this stage runs. Metadata is checked where there is any."""
    about = session.get_modelmeta().custom_metadata_map
    names = [feature.name for feature in STAGE_FEATURES]
    inputs = {node.name: node.shape for node in session.get_inputs()}
    for what, found, expected in (
        ("inputs", sorted(inputs), sorted(INPUTS)),
        ("outputs", [node.name for node in session.get_outputs()], [OUTPUT]),
        ("width of dense_NF", inputs.get("dense_NF", [None])[-1], len(names)),
        ("width of item_NK", inputs.get("item_NK", [None])[-1], width),
        ("width of history_BLK", inputs.get("history_BLK", [None])[-1], width),
        ("features", json.loads(about.get("features", "null")) or names, names),
        ("tasks", json.loads(about.get("tasks", "null")) or list(tasks), list(tasks)),
        ("schema_fingerprint", about.get("schema_fingerprint", FINGERPRINT), FINGERPRINT),
    ):
        if found != expected:
            raise ModelUnreadable(path, f"{what}: found {found}, this stage expects {expected}")

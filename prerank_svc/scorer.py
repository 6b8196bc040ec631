"""Scores candidates with the distilled student. Knows a bundle and numpy; knows neither messages nor gRPC.

Shapes: B users, N candidates of all users, K candidates that the item table knows, F features of this stage, T tasks (none).
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
from features.item_table import ItemTable
from features.schema import Stage, of_stage
from features.user_state import EMPTY
from features.view import View
from serving.columns import CandidateColumns, Float32
from serving.errors import ModelUnreadable
from serving.onnx_session import open_session
from serving.scorer import Scored, Weights

STAGE_FEATURES = of_stage(FEATURES, Stage.PRERANK)
INPUTS, OUTPUT = ["dense_NF"], "score_N"


class PrerankScorer:
    """The score is the student's own: it stands for where the whole funnel would put a candidate, so it needs no value weights."""

    tasks: tuple[str, ...] = ()

    def __init__(self, items: ItemTable, session: Any) -> None:
        self._items, self._session = items, session

    @classmethod
    def open(cls, bundle: Bundle, threads: int = 1) -> PrerankScorer:
        """The scorer of a verified bundle, warmed up. Raises BundleError or ModelUnreadable, naming file and mismatch."""
        try:
            items = ItemTable.open(bundle.path / layout.ITEMS)
        except (OSError, ValueError, KeyError) as error:
            raise BundleCorrupt(bundle.version, layout.ITEMS, f"cannot be read: {error}") from error
        path = bundle.file(layout.model(Stage.PRERANK))
        session = open_session(path, threads)
        _check_graph(path, session)
        scorer = cls(items, session)
        scorer._warm_up(path)
        return scorer

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        """The student's score of every candidate, NaN for media that the item table does not know. `weight_BT` is not read."""
        start = time.perf_counter()
        row_N = self._items.rows(candidates.media_id_N)
        known_K = np.flatnonzero(row_N >= 0)
        user_N = np.repeat(np.arange(len(contexts)), np.diff(candidates.offsets))
        dense_KF = self._dense(candidate_view(contexts, self._items, row_N[known_K], user_N[known_K]))
        assembled = time.perf_counter()
        score_N = np.full(len(row_N), np.nan, dtype=np.float32)
        if len(known_K):
            score_N[known_K] = self._predict(dense_KF)
        done = time.perf_counter()
        return Scored(score_N, None, round((assembled - start) * 1e6), round((done - assembled) * 1e6))

    def _dense(self, view: View) -> Float32:
        return assemble(view, STAGE_FEATURES)

    def _predict(self, dense_KF: Float32) -> Float32:
        return self._session.run([OUTPUT], {"dense_NF": dense_KF})[0]

    def _warm_up(self, path: Path) -> None:
        """The first run is slow, and shows what a graph does not declare."""
        row_N = np.zeros(min(2, len(self._items.media_id_M)), dtype=np.int64)
        view = candidate_view(EMPTY.context("warm-up", self._items.as_of_ms, ""), self._items, row_N, row_N)
        try:
            found = self._predict(self._dense(view)).shape if len(row_N) else row_N.shape
        except Exception as error:  # onnxruntime's exceptions have no common base class
            raise ModelUnreadable(path, f"does not run: {error}") from error
        if found != row_N.shape:
            raise ModelUnreadable(path, f"{OUTPUT} has shape {found} for {len(row_N)} candidates")


def _check_graph(path: Path, session: Any) -> None:
    """Raises ModelUnreadable unless the graph is what this stage runs. Metadata is checked where there is any."""
    about = session.get_modelmeta().custom_metadata_map
    names = [feature.name for feature in STAGE_FEATURES]
    inputs = {node.name: node.shape for node in session.get_inputs()}
    for what, found, expected in (
        ("inputs", list(inputs), INPUTS),
        ("outputs", [node.name for node in session.get_outputs()], [OUTPUT]),
        ("width of dense_NF", inputs.get("dense_NF", [None])[-1], len(names)),
        ("features", json.loads(about.get("features", "null")) or names, names),
        ("schema_fingerprint", about.get("schema_fingerprint", FINGERPRINT), FINGERPRINT),
    ):
        if found != expected:
            raise ModelUnreadable(path, f"{what}: found {found}, this stage expects {expected}")

"""What the models of the three ranking stages share: opened from a bundle, checked, warmed up, and run on known candidates.

Knows bundles, features and ONNX; knows neither messages nor what a score means.
Shapes: B users, N candidates of all users, K of them that the item table knows, F dense features of the stage, T tasks, and X for
whatever a graph puts out per candidate.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundles import layout
from bundles.bundle import Bundle
from features.assemble import assemble, candidate_view
from features.context import UserContexts
from features.dense import FEATURES, FINGERPRINT
from features.item_features import ItemFeatures
from features.item_table import ItemTable
from features.schema import Stage, of_stage
from features.user_state import EMPTY
from features.view import View
from serving.columns import CandidateColumns, Float32, Int64
from serving.errors import ModelUnreadable
from serving.items import open_item_features
from serving.onnx_session import open_session

Feed = dict[str, NDArray[Any]]
DENSE = "dense_NF"  # every stage's graph reads its dense features under this name


@dataclass(frozen=True)
class GraphContract:
    """What a stage's graph must look like. `widths` gives the last axis of an input besides `dense_NF`, None where it is free."""

    stage: Stage
    output: str
    tasks: tuple[str, ...] = ()  # empty: one score per candidate instead of T probabilities
    widths: Mapping[str, int | None] | None = None

    def output_shape(self, candidates: int) -> tuple[int, ...]:
        """Shape of the output for so many candidates."""
        return (candidates, len(self.tasks)) if self.tasks else (candidates,)


@dataclass(frozen=True)
class Prediction:
    """Output and dense features of N candidates; NaN for those that the item table does not know. Times in microseconds."""

    output_NX: Float32
    dense_NF: Float32
    features_us: int
    model_us: int


class StageModel:
    """One stage's graph on one bundle's item table."""

    def __init__(
        self,
        items: ItemTable,
        item_features: ItemFeatures,
        session: Any,
        contract: GraphContract,
        more_inputs: Callable[[View], Feed] | None = None,
    ) -> None:
        """`more_inputs` computes what the graph reads besides `dense_NF`."""
        self._items, self._item_features, self._session, self._contract = items, item_features, session, contract
        self._more_inputs = more_inputs or (lambda _: {})
        self._features = of_stage(FEATURES, contract.stage)

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        contract: GraphContract,
        threads: int,
        items: ItemTable,
        more_inputs: Callable[[View], Feed] | None = None,
    ) -> StageModel:
        """The model of a verified bundle, warmed up. Raises BundleError or ModelUnreadable, naming file and mismatch."""
        path = bundle.file(layout.model(contract.stage))
        session = open_session(path, threads)
        _check_graph(path, session, contract)
        model = cls(items, open_item_features(bundle, items), session, contract, more_inputs)
        model._warm_up(path)
        return model

    def predict(self, contexts: UserContexts, candidates: CandidateColumns) -> Prediction:
        """The graph's output for every candidate that the item table knows."""
        start = time.perf_counter()
        row_N = self._items.rows(candidates.media_id_N)
        known_K = np.flatnonzero(row_N >= 0)
        user_N = np.repeat(np.arange(len(contexts)), np.diff(candidates.offsets))
        feed = self._feed(contexts, row_N[known_K], user_N[known_K])
        assembled = time.perf_counter()
        output_NX = np.full(self._contract.output_shape(len(row_N)), np.nan, dtype=np.float32)
        dense_NF = np.full((len(row_N), len(self._features)), np.nan, dtype=np.float32)
        if len(known_K):
            output_NX[known_K], dense_NF[known_K] = self._run(feed), feed[DENSE]
        done = time.perf_counter()
        return Prediction(output_NX, dense_NF, round((assembled - start) * 1e6), round((done - assembled) * 1e6))

    def _feed(self, contexts: UserContexts, row_K: Int64, user_K: Int64) -> Feed:
        view = candidate_view(contexts, self._items, row_K, user_K, item_features=self._item_features)
        return {DENSE: assemble(view, self._features), **self._more_inputs(view)}

    def _run(self, feed: Feed) -> Float32:
        return self._session.run([self._contract.output], feed)[0]

    def _warm_up(self, path: Path) -> None:
        """The first run is slow, and shows what a graph does not declare."""
        row_N = np.zeros(min(2, len(self._items.media_id_M)), dtype=np.int64)
        nobody, user_N = EMPTY.context("warm-up", self._items.as_of_ms, ""), np.zeros_like(row_N)
        expected = self._contract.output_shape(len(row_N))
        try:
            found = self._run(self._feed(nobody, row_N, user_N)).shape if len(row_N) else expected
        except Exception as error:  # onnxruntime's exceptions have no common base class
            raise ModelUnreadable(path, f"does not run: {error}") from error
        if found != expected:
            needed = "the tasks of the manifest need" if self._contract.tasks else "expected"
            raise ModelUnreadable(path, f"{self._contract.output} has shape {found}, {needed} {expected}")


def _check_graph(path: Path, session: Any, contract: GraphContract) -> None:
    """Raises ModelUnreadable unless the graph is what this stage runs. Metadata is checked where there is any."""
    about = session.get_modelmeta().custom_metadata_map
    names, tasks = [feature.name for feature in of_stage(FEATURES, contract.stage)], list(contract.tasks)
    widths = {DENSE: len(names), **(contract.widths or {})}
    inputs = {node.name: node.shape for node in session.get_inputs()}
    checks = [
        ("inputs", sorted(inputs), sorted(widths)),
        ("outputs", [node.name for node in session.get_outputs()], [contract.output]),
        *(
            (f"width of {name}", inputs.get(name, [None])[-1], width)
            for name, width in widths.items()
            if width is not None
        ),
        ("features", json.loads(about.get("features", "null")) or names, names),
        ("tasks", json.loads(about.get("tasks", "null")) or tasks, tasks),
        ("schema_fingerprint", about.get("schema_fingerprint", FINGERPRINT), FINGERPRINT),
    ]
    for what, found, expected in checks:
        if found != expected:
            raise ModelUnreadable(path, f"{what}: found {found}, this stage expects {expected}")

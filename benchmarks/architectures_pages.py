"""What a page costs with each choice of benchmarks/architectures.py: the exported graph on one thread, all choices in turn.

Weights do not change what a product costs, so the networks are not trained.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.models_rows import Rows
from features.dense import FEATURES
from features.schema import Stage, of_stage
from training.export import export_rerank
from training.models.calibration import Calibration
from training.models.candidate_rows import stage_columns
from training.models.deep import DeepRanker
from training.models.graph_inputs import deep_inputs
from training.models.id_embeddings import IdEmbeddings
from training.rankers import RerankConfig, TrainedRerank

PAGE = 50  # candidates of the one user whose page is scored
_ROUNDS = 300


def page_ms(configs: Mapping[str, RerankConfig], rows: Rows) -> dict[str, float]:
    """Median CPU milliseconds of one page. Choices whose graphs are alike are timed once."""
    graphs = {name: _graph(config) for name, config in configs.items()}
    sessions = {graph: _session(graph, rows) for graph in dict.fromkeys(graphs.values())}
    page = _page(rows, next(iter(configs.values())))
    taken: dict[RerankConfig, list[float]] = {graph: [] for graph in sessions}
    for _ in range(_ROUNDS):
        for graph, session in sessions.items():
            started = time.process_time()
            session.run(None, page)
            taken[graph].append(time.process_time() - started)
    return {name: float(np.median(taken[graph])) * 1e3 for name, graph in graphs.items()}


def _graph(config: RerankConfig) -> RerankConfig:
    """The part of a choice that its graph is made of: how it is trained, and dropout, leave no trace in it."""
    architecture = replace(config.architecture, dropout=0.0)
    return RerankConfig(embeddings=config.embeddings, architecture=architecture, input=config.input)


def _session(config: RerankConfig, rows: Rows) -> onnxruntime.InferenceSession:
    tasks = rows.tasks
    network = DeepRanker(
        of_stage(FEATURES, Stage.RERANK), config.embeddings.width, len(tasks), config.input, config.architecture
    )
    network.dense.fit(rows.train.dense_NF[:, stage_columns(Stage.RERANK)])
    trained = TrainedRerank(network, Calibration(len(tasks)), _embeddings(rows, config), tasks, ())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory(prefix="explore-page-") as scratch:
        path = Path(scratch) / "rerank.onnx"
        export_rerank(trained, rows.items, rows.valid, path)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _page(rows: Rows, config: RerankConfig) -> dict[str, NDArray[Any]]:
    batch = next(deep_inputs(rows.valid, rows.items, _embeddings(rows, config).tables()))
    page = {
        name: column[:1] if name.startswith("history") else np.resize(column, (PAGE, *column.shape[1:]))
        for name, column in batch.items()
    }
    return page | {"user_N": np.zeros(PAGE, dtype=np.int64)}


def _embeddings(rows: Rows, config: RerankConfig) -> IdEmbeddings:
    return IdEmbeddings(rows.items, rows.train.row_N, config.embeddings)

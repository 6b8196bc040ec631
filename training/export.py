"""Networks to ONNX graphs, each checked against the network it came from before it may leave. Knows nothing of bundles.

Shapes: N candidates, B users, F features, K item embedding, L history slots, T tasks.
"""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from features.context import HISTORY_LENGTH
from features.dense import FEATURES, FINGERPRINT
from features.item_table import ItemTable
from features.related import RELATED_SLOTS
from features.schema import Stage, of_stage
from training.errors import ExportError
from training.models.calibration import Calibrated
from training.models.candidate_rows import CandidateRows
from training.models.graph_inputs import Inputs, deep_inputs, dense_inputs
from training.models.student import PrerankStudent
from training.rankers import TrainedRank, TrainedRerank

TOLERANCE = 1e-4  # largest difference between network and graph, in probabilities or scores
PROBABILITY_OUTPUT = "probability_NT"
SCORE_OUTPUT = "score_N"


def export_prerank(model: PrerankStudent, rows: CandidateRows, path: Path) -> float:
    """Writes the student: `dense_NF` to `score_N`. Otherwise as `export_rerank`."""
    graph = _Graph(model, Stage.PRERANK, _dense_example(Stage.PRERANK), SCORE_OUTPUT, ())
    return _write(graph, dense_inputs(rows, Stage.PRERANK), path)


def export_rank(trained: TrainedRank, rows: CandidateRows, path: Path) -> float:
    """Writes the light ranker with its calibration: `dense_NF` to `probability_NT`. Otherwise as `export_rerank`."""
    network = Calibrated(trained.model, trained.calibration)
    graph = _Graph(network, Stage.RANK, _dense_example(Stage.RANK), PROBABILITY_OUTPUT, trained.tasks)
    return _write(graph, dense_inputs(rows, Stage.RANK), path)


def export_rerank(trained: TrainedRerank, items: ItemTable, rows: CandidateRows, path: Path) -> float:
    """Writes the deep ranker with its calibration to `path`, one file, and returns the largest difference to the network.

    Inputs are named as the arguments of `DeepRanker.forward`, the output is `probability_NT`; the embedding tables are not part
    of it. `rows` are validation data that the difference is measured on. The graph carries stage, features, tasks and schema
    fingerprint as metadata. Raises ExportError above `TOLERANCE` or without rows; then nothing is written.
    """
    example = _dense_example(Stage.RERANK) | _sequence_example(trained.model.attention.item.in_features)
    network = Calibrated(trained.model, trained.calibration)
    graph = _Graph(network, Stage.RERANK, example, PROBABILITY_OUTPUT, trained.tasks)
    return _write(graph, deep_inputs(rows, items, trained.embeddings.tables()), path)


def parity(network: nn.Module, graph: bytes, stage: Stage, inputs: Iterable[Inputs]) -> float:
    """Largest absolute difference between what network and graph make of `inputs`.

    Raises ExportError above `TOLERANCE`, for values that are not finite, and when no candidate was compared.
    """
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    worst, compared = 0.0, 0
    for batch in inputs:
        with torch.inference_mode():
            expected = network(*(torch.from_numpy(value) for value in batch.values())).numpy()
        (found,) = session.run(None, dict(batch))
        if expected.shape != found.shape:
            raise ExportError(stage, f"the graph returns shape {found.shape}, the network {expected.shape}")
        compared += len(expected)
        # NaN on either side makes the difference NaN, which is not below the tolerance either.
        worst = float(np.maximum(worst, np.abs(expected - found).max(initial=0.0)))
        if not worst <= TOLERANCE:
            raise ExportError(stage, f"graph and network differ by {worst:.3g}, allowed are {TOLERANCE:g}")
    if compared == 0:
        raise ExportError(stage, "no candidates to compare graph and network on; pass validation rows")
    return worst


@dataclass(frozen=True)
class _Graph:
    network: nn.Module
    stage: Stage
    example: Mapping[str, Tensor]
    output: str
    tasks: tuple[str, ...]

    def metadata(self) -> dict[str, str]:
        return {
            "stage": self.stage.value,
            "features": json.dumps([feature.name for feature in of_stage(FEATURES, self.stage)]),
            "tasks": json.dumps(self.tasks),
            "schema_fingerprint": FINGERPRINT,
        }


def _write(graph: _Graph, inputs: Iterable[Inputs], path: Path) -> float:
    graph.network.eval()
    model = _onnx(graph)
    onnx.helper.set_model_props(model, graph.metadata())
    onnx.checker.check_model(model, full_check=True)
    serialised = model.SerializeToString()
    worst = parity(graph.network, serialised, graph.stage, inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialised)
    return worst


def _onnx(graph: _Graph) -> onnx.ModelProto:
    # Candidates (N) and users (B) are free; both are larger than 1 in the example, since 0 and 1 would be baked in.
    free = tuple({0: torch.export.Dim.DYNAMIC} for _ in graph.example)
    with _quiet():
        program = torch.onnx.export(
            graph.network,
            tuple(graph.example.values()),
            dynamo=True,
            verbose=False,
            input_names=list(graph.example),
            output_names=[graph.output],
            dynamic_shapes=(free,) if isinstance(graph.network, Calibrated) else free,
            external_data=False,
        )
    if program is None:
        raise ExportError(graph.stage, "the exporter returned no graph")
    return _without_traces(program.model_proto)


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The exporter notes on every node which line of which file on this machine it came from; nobody else can use that."""
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, model.graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return model


def _dense_example(stage: Stage) -> dict[str, Tensor]:
    return {"dense_NF": torch.zeros(5, len(of_stage(FEATURES, stage)))}


def _sequence_example(width: int) -> dict[str, Tensor]:
    return {
        "item_NK": torch.zeros(5, width),
        "history_BLK": torch.zeros(3, HISTORY_LENGTH, width),
        "history_action_BL": torch.zeros(3, HISTORY_LENGTH, dtype=torch.int64),
        "history_age_BL": torch.zeros(3, HISTORY_LENGTH),
        "user_N": torch.zeros(5, dtype=torch.int64),
        "related_NSK": torch.zeros(5, RELATED_SLOTS, width),
        "related_action_NS": torch.zeros(5, RELATED_SLOTS, dtype=torch.int64),
        "related_age_NS": torch.zeros(5, RELATED_SLOTS),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its progress on stdout and through loggers, and warns of its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

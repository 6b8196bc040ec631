"""Bundles on disk with tiny ONNX graphs for the three ranking stages, and requests for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bundles import layout
from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.dense import FEATURES, FINGERPRINT
from features.item_features import save_items
from features.schema import Stage, of_stage
from serving.columns import CandidateColumns
from tests.retrieval_svc.worlds import NOW, hand_made

TASKS = ("click", "like", "negative")
HIDDEN = 8

Spoil = Callable[[Path], object]


def publish(root: Path, spoil: Spoil = lambda staged: None, fill: Spoil = lambda staged: None) -> Bundle:
    """An active bundle of the hand-made world with what `fill` writes, after `spoil` had its way with the files."""
    store = BundleStore(root)
    with store.stage() as staged:
        save_items(hand_made(), staged / layout.ITEMS)
        fill(staged)
        spoil(staged)
        manifest = store.publish(
            staged,
            parent=None,
            dataset="hand-made",
            as_of_ms=NOW,
            training_window_start_ms=0,
            training_window_end_ms=NOW,
            schema_fingerprint=FINGERPRINT,
            tasks=TASKS,
            value_weights={"default": {"click": 1.0}},
            metrics={},
            library_versions={},
            command="tests",
        )
    store.activate(manifest.version)
    return store.open(manifest.version, FINGERPRINT)


def candidates(*media_ids_of_users: Sequence[int]) -> CandidateColumns:
    """The candidates of users, unscored."""
    media_id_N = np.array([media for ids in media_ids_of_users for media in ids], dtype=np.int64)
    return CandidateColumns(
        offsets=np.cumsum([0, *map(len, media_ids_of_users)]).astype(np.int64),
        media_id_N=media_id_N,
        author_id_N=np.maximum(media_id_N // 10, 1),
        seed_account_id_N=np.zeros_like(media_id_N),
        source_index_N=np.zeros(len(media_id_N), dtype=np.uint8),
        score_N=np.full(len(media_id_N), np.nan, dtype=np.float32),
        sources=("trending",),
    )


def dense_graph(
    stage: Stage, output: str, outputs: int, width: int | None = None, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Two layers with fixed random weights over the stage's features, NaN read as 0. One output: a score; more: probabilities."""
    features = width if width is not None else len(of_stage(FEATURES, stage))
    weights, nodes = dense_layers(features, outputs)
    last = helper.make_node("Sigmoid", ["logit"], [output])
    shape: list[str | int] = ["N", outputs]
    if outputs == 1:
        weights.append(numpy_helper.from_array(np.array([1]), "axis"))
        last, shape = helper.make_node("Squeeze", ["logit", "axis"], [output]), ["N"]
    inputs = [value("dense_NF", ["N", features])]
    return serialised([*nodes, last], inputs, value(output, shape), weights, metadata)


def dense_layers(features: int, outputs: int) -> tuple[list[onnx.TensorProto], list[onnx.NodeProto]]:
    """Weights and nodes from `dense_NF` to `logit`."""
    draw = np.random.default_rng(5)
    arrays = {
        "zero": np.zeros(1),
        "first": draw.normal(size=(features, HIDDEN)) * 0.02,
        "second": draw.normal(size=(HIDDEN, outputs)),
    }
    nodes = [
        helper.make_node("IsNaN", ["dense_NF"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "dense_NF"], ["known"]),
        helper.make_node("MatMul", ["known", "first"], ["mixed"]),
        helper.make_node("Tanh", ["mixed"], ["hidden"]),
        helper.make_node("MatMul", ["hidden", "second"], ["logit"]),
    ]
    return [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()], nodes


def value(name: str, shape: Sequence[str | int], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def serialised(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    weights: Sequence[onnx.TensorProto],
    metadata: Mapping[str, str] | None,
) -> bytes:
    """The bytes of a checked graph."""
    graph = helper.make_graph(nodes, "test", inputs, [output], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, dict(metadata or {}))
    onnx.checker.check_model(model, full_check=True)
    found: bytes = model.SerializeToString()
    return found


def write_model(staged: Path, stage: Stage, graph: bytes) -> None:
    """Puts a graph where the bundle wants it."""
    path = staged / layout.model(stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(graph)


def probabilities(dense_NF: np.ndarray, outputs: int) -> np.ndarray:
    """What `dense_graph` computes, by numpy, before the squeeze."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in dense_layers(dense_NF.shape[1], outputs)[0]}
    logit_NT = np.tanh(np.nan_to_num(dense_NF) @ weights["first"]) @ weights["second"]
    return logit_NT if outputs == 1 else 1 / (1 + np.exp(-logit_NT))

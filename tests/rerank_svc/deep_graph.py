"""A tiny deep ranker: the dense part of `tests.rank_svc.published` plus a candidate-history product, and its tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from bundles import layout
from features.context import HISTORY_LENGTH
from features.dense import FEATURES
from features.embeddings import ItemEmbeddings
from features.related import RELATED_SLOTS
from features.schema import Stage, of_stage
from tests.rank_svc.published import TASKS, dense_layers, serialised, value, write_model

WIDTHS = (4, 3, 2)  # media, account, topic
MEDIA, ACCOUNTS, TOPICS = 12, 4, 2


def tables(media: int = MEDIA) -> ItemEmbeddings:
    """Random embeddings of the hand-made world."""
    draw = np.random.default_rng(6)
    sizes = zip((media, ACCOUNTS, TOPICS), WIDTHS, strict=True)
    of_media, of_account, of_topic = (draw.normal(size=size).astype(np.float32) for size in sizes)
    return ItemEmbeddings(of_media, of_account, of_topic, np.zeros(sum(WIDTHS), dtype=np.float32))


def deep_graph(
    width: int = sum(WIDTHS), outputs: int = len(TASKS), drop: str = "", metadata: Mapping[str, str] | None = None
) -> bytes:
    """Sigmoid(dense part + item . mean of the history + sums of ages and actions + mean of what is related).

    `drop` leaves one input out.
    """
    features = len(of_stage(FEATURES, Stage.RERANK))
    weights, nodes = dense_layers(features, outputs)
    weights.append(numpy_helper.from_array(np.array([1]), "axis"))
    weights.append(numpy_helper.from_array(np.array([1, 2]), "last_axes"))
    weights.append(numpy_helper.from_array(np.array(0.01, dtype=np.float32), "scale"))
    nodes += [
        helper.make_node("ReduceMean", ["history_BLK", "axis"], ["pooled_BK"], keepdims=0),
        helper.make_node("Gather", ["pooled_BK", "user_N"], ["pooled_NK"], axis=0),
        helper.make_node("Mul", ["item_NK", "pooled_NK"], ["product"]),
        helper.make_node("ReduceSum", ["product", "axis"], ["match_N1"], keepdims=1),
        helper.make_node("Cast", ["history_action_BL"], ["action_BL"], to=TensorProto.FLOAT),
        helper.make_node(
            "Add", ["action_BL", "history_age_BL" if drop != "history_age_BL" else "action_BL"], ["slots"]
        ),
        helper.make_node("ReduceSum", ["slots", "axis"], ["all_B1"], keepdims=1),
        helper.make_node("Mul", ["all_B1", "scale"], ["scaled_B1"]),
        helper.make_node("Gather", ["scaled_B1", "user_N"], ["recent_N1"], axis=0),
        helper.make_node("Add", ["match_N1", "recent_N1"], ["sequence_N1"]),
        helper.make_node("ReduceMean", ["related_NSK", "last_axes"], ["related_N"], keepdims=0),
        helper.make_node("Cast", ["related_action_NS"], ["related_NS"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["related_NS", "related_age_NS"], ["related_slots"]),
        helper.make_node("ReduceSum", ["related_slots", "axis"], ["older_N1"], keepdims=1),
        helper.make_node("Unsqueeze", ["related_N", "axis"], ["related_N1"]),
        helper.make_node("Mul", ["older_N1", "scale"], ["scaled_N1"]),
        helper.make_node("Add", ["related_N1", "scaled_N1"], ["long_N1"]),
        helper.make_node("Add", ["sequence_N1", "long_N1"], ["sequences_N1"]),
        helper.make_node("Add", ["logit", "sequences_N1"], ["total"]),
        helper.make_node("Sigmoid", ["total"], ["probability_NT"]),
    ]
    inputs = [
        value("dense_NF", ["N", features]),
        value("item_NK", ["N", width]),
        value("history_BLK", ["B", HISTORY_LENGTH, width]),
        value("history_action_BL", ["B", HISTORY_LENGTH], TensorProto.INT64),
        value("history_age_BL", ["B", HISTORY_LENGTH]),
        value("user_N", ["N"], TensorProto.INT64),
        value("related_NSK", ["N", RELATED_SLOTS, width]),
        value("related_action_NS", ["N", RELATED_SLOTS], TensorProto.INT64),
        value("related_age_NS", ["N", RELATED_SLOTS]),
    ]
    kept = [node for node in inputs if node.name != drop]
    return serialised(nodes, kept, value("probability_NT", ["N", outputs]), weights, metadata)


def write(staged: Path, graph: bytes | None = None, media: int = MEDIA) -> None:
    """The files of the deep ranker."""
    write_model(staged, Stage.RERANK, deep_graph() if graph is None else graph)
    tables(media).save(staged / layout.RERANK_EMBEDDINGS)

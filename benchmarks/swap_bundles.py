"""Bundles for `benchmarks.swap`: copies of a trained one, each marked so that a page shows which version every stage answered from.

A mark is in what a stage computes, not in what it says of itself: retrieval lacks one class of media, prerank's scores lie in a
band of their own, rank and rerank give the first task a constant probability, and the gateway values it with a weight of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from bundles import layout
from bundles.manifest import Manifest
from bundles.store import BundleStore
from features.item_features import ItemFeatures
from features.item_table import ItemTable
from protos.explore.v1.feed_pb2 import CandidateDebug, GetFeedResponse

CLASSES = 7  # of media, by id; each marked bundle has none of one class
_BAND = 64.0  # between prerank's scores of two bundles; far wider than the scores of one
_STATED_BY_STORE = {"format_version", "version", "created_at_ms", "files"}
_CLOSE = 1e-4  # of probabilities, which differ by 1e-3 between two bundles
_EQUAL = 1e-5  # of values, which are sums of float32
MARKED = frozenset({"retrieval", "prerank", "rank", "rerank", "gateway"})


@dataclass(frozen=True)
class Mark:
    """Which marked bundle this is, from 0, and what its pages must look like."""

    number: int
    tasks: tuple[str, ...]
    weights: dict[str, float]

    @property
    def missing_class(self) -> int:
        return self.number % CLASSES

    @property
    def offset(self) -> float:
        return _BAND * (self.number + 1)

    @property
    def probability(self) -> float:
        return (self.number + 1) / 1000

    def strangers(self, page: GetFeedResponse) -> set[str]:
        """The stages of a page with debug that did not answer from this bundle."""
        found = set()
        classes = {candidate.media_id % CLASSES for candidate in page.debug.candidates}
        if classes != set(range(CLASSES)) - {self.missing_class}:
            found.add("retrieval")
        found |= {stage for candidate in page.debug.candidates for stage in self._strange_placements(candidate)}
        for item in page.items:
            value = sum(self.weights[each.task] * each.probability for each in item.task_probabilities)
            if not np.isclose(item.value, value, rtol=_EQUAL, atol=_EQUAL):
                found.add("gateway")
        return found

    def _strange_placements(self, candidate: CandidateDebug) -> set[str]:
        found = set()
        for placement in candidate.placements:
            if placement.stage == "prerank" and not abs(placement.score - self.offset) < _BAND / 2:
                found.add(placement.stage)
            first = [each.probability for each in placement.task_probabilities if each.task == self.tasks[0]]
            if first and not abs(first[0] - self.probability) < _CLOSE:
                found.add(placement.stage)
        return found


def marked(store: BundleStore, version: str, number: int) -> tuple[str, Mark]:
    """Publishes a marked copy of a version."""
    manifest = store.manifest(version)
    weights = {**manifest.value_weights["default"], manifest.tasks[0]: 1.0 + number}
    mark = Mark(number, manifest.tasks, weights)

    def change(staged: Path) -> None:
        items = ItemTable.open(staged / layout.ITEMS)
        risk_M = np.nan_to_num(items.non_recommendable_M, nan=0.0).astype(np.float32)
        risk_M[items.media_id_M % CLASSES == mark.missing_class] = 1.0
        np.save(staged / layout.ITEMS / "non_recommendable_M.npy", risk_M)
        ItemFeatures.of(replace(items, non_recommendable_M=risk_M)).save(staged / layout.ITEMS)
        _append(staged / layout.model("prerank"), [("Add", np.float32(mark.offset))])
        mask_T = np.array([0.0] + [1.0] * (len(mark.tasks) - 1), dtype=np.float32)
        for stage in ("rank", "rerank"):
            _append(
                staged / layout.model(stage), [("Mul", mask_T), ("Add", (1 - mask_T) * np.float32(mark.probability))]
            )

    return copy(store, version, change, value_weights={"default": weights}).version, mark


def copy(
    store: BundleStore, version: str, change: Callable[[Path], object] = lambda _: None, **fields: Any
) -> Manifest:
    """Publishes a copy of a version, its files changed and with other `fields` in its manifest."""
    manifest = store.manifest(version)
    stated = {name: value for name, value in manifest if name not in _STATED_BY_STORE}
    with store.stage() as staged:
        for relative in manifest.files:
            (staged / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.root / version / relative, staged / relative)
        change(staged)
        return store.publish(staged, **{**stated, **fields})


def with_a_flipped_byte(store: BundleStore, version: str) -> str:
    """Publishes a copy and damages it afterwards, as a disk would: a file that every service reads."""
    published = copy(store, version).version
    path = store.root / published / layout.ITEMS / "media_id_M.npy"
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return published


def without_a_file(store: BundleStore, version: str) -> str:
    """Publishes a copy and loses one of its files."""
    published = copy(store, version).version
    path = store.root / published / layout.ACCOUNT_INDEX
    path.parent.chmod(0o755)
    path.unlink()
    return published


def of_other_features(store: BundleStore, version: str) -> str:
    """Publishes a copy that says that it was trained on other features."""
    return copy(store, version, schema_fingerprint="0" * 64).version


def _append(path: Path, operations: list[tuple[str, NDArray[np.float32] | np.float32]]) -> None:
    """Appends operations with a constant to the only output of a graph, which keeps its name."""
    model = onnx.load(str(path))
    graph = model.graph
    output = graph.output[0].name
    names = [f"{output}_{place}_of_the_mark" for place in range(len(operations))] + [output]
    for node in graph.node:
        for place, name in enumerate(node.output):
            if name == output:
                node.output[place] = names[0]
        for place, name in enumerate(node.input):
            if name == output:
                node.input[place] = names[0]
    for place, (operation, constant) in enumerate(operations):
        graph.initializer.append(numpy_helper.from_array(np.asarray(constant), f"mark_{place}"))
        graph.node.append(helper.make_node(operation, [names[place], f"mark_{place}"], [names[place + 1]]))
    onnx.save(model, str(path))

"""What of a bundle can be opened, and what is said where it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from bundles import layout
from bundles.errors import BundleCorrupt, SchemaMismatch
from cli.workspace import Workspace
from features.schema import Stage
from tests.variants import variant
from training.bundle_evaluation import JudgedLog, OpenedBundle, predict
from training.models.graph_inputs import stage_batches


def test_other_features_are_refused_by_name(trained: Workspace, opened: OpenedBundle) -> None:
    store = trained.bundles()
    manifest = variant(store, opened.version, schema_fingerprint="f00d")
    with pytest.raises(SchemaMismatch, match=f"bundle {manifest.version}.*f00d.*train again with this release"):
        OpenedBundle.open(store.open(manifest.version, None))


def test_a_graph_that_asks_for_more_than_is_computed_is_named(
    trained: Workspace, opened: OpenedBundle, log: JudgedLog
) -> None:
    def rename(staged: Path) -> None:
        path = staged / layout.model(Stage.RANK)
        model = onnx.load(path)
        model.graph.input[0].name = "weather_N"
        for node in model.graph.node:
            node.input[:] = ["weather_N" if name == "dense_NF" else name for name in node.input]
        onnx.save(model, path)

    store = trained.bundles()
    manifest = variant(store, opened.version, rename)
    with pytest.raises(BundleCorrupt, match=r"rank/model.onnx: asks for inputs .*: weather_N"):
        predict(OpenedBundle.open(store.open(manifest.version, None)), log.rows(opened, log.window()))


def test_a_file_that_is_no_graph_is_named(trained: Workspace, opened: OpenedBundle) -> None:
    def spoil(staged: Path) -> None:
        (staged / layout.model(Stage.PRERANK)).write_bytes(b"no graph")

    store = trained.bundles()
    manifest = variant(store, opened.version, spoil)
    with pytest.raises(BundleCorrupt, match=r"prerank/model.onnx: cannot be read"):
        OpenedBundle.open(store.open(manifest.version, None))


def test_batches_hold_every_candidate_once_in_order(opened: OpenedBundle, log: JudgedLog) -> None:
    window = log.rows(opened, log.window())
    batches = list(stage_batches(window.rows, Stage.RERANK, window.items, window.tables))
    assert len(batches) > 1
    assert np.array_equal(
        np.concatenate([batch["dense_NF"] for batch in batches]), window.rows.dense_NF, equal_nan=True
    )
    for batch in batches:
        assert np.array_equal(batch["item_NK"][:3].any(axis=1), np.ones(3))
        assert int(batch["user_N"].max()) + 1 == len(batch["history_BLK"])


def test_no_candidates_are_no_error(opened: OpenedBundle) -> None:
    assert opened.run(Stage.RERANK, []).shape == (0, len(opened.tasks))
    assert opened.run(Stage.PRERANK, []).shape == (0,)

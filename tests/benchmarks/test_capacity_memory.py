"""The bundle with many times the media, that memory is measured on, is one that services take."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.capacity_memory import _grow
from benchmarks.swap_bundles import copy
from bundles.store import BundleStore
from cli.workspace import Workspace
from features.dense import FINGERPRINT
from prerank_svc.scorer import PrerankScorer
from rank_svc.scorer import RankScorer
from rerank_svc.scorer import RerankScorer
from serving.items import open_items


@pytest.mark.parametrize("scorer", [PrerankScorer, RankScorer, RerankScorer])
def test_a_ranker_opens_a_bundle_with_many_times_the_media(trained: Workspace, tmp_path: Path, scorer: type) -> None:
    root = tmp_path / "bundles"
    shutil.copytree(trained.bundles().root, root)
    store = BundleStore(root)
    before = store.open(store.active_version(), FINGERPRINT)
    after = store.open(copy(store, before.version, lambda staged: _grow(staged, 3)).version, FINGERPRINT)
    scorer.open(after, 1)  # type: ignore[attr-defined]
    assert len(open_items(after).media_id_M) == 3 * len(open_items(before).media_id_M)

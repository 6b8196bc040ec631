"""The bundle with many times the media, that memory is measured on, is one that services take."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.capacity_memory import _grow
from benchmarks.swap_bundles import copy
from bundles.bundle import Bundle
from bundles.store import BundleStore
from cli.workspace import Workspace
from features.dense import FINGERPRINT
from prerank_svc.scorer import PrerankScorer
from rank_svc.scorer import RankScorer
from rerank_svc.scorer import RerankScorer
from serving.items import open_items


@pytest.mark.parametrize("open_scorer", [PrerankScorer.open, RankScorer.open, RerankScorer.open])
def test_a_ranker_opens_a_bundle_with_many_times_the_media(
    trained: Workspace, tmp_path: Path, open_scorer: Callable[[Bundle, int], object]
) -> None:
    root = tmp_path / "bundles"
    shutil.copytree(trained.bundles().root, root)
    store = BundleStore(root)
    before = store.open(store.active_version(), FINGERPRINT)
    after = store.open(copy(store, before.version, lambda staged: _grow(staged, 3)).version, FINGERPRINT)
    open_scorer(after, 1)
    assert len(open_items(after).media_id_M) == 3 * len(open_items(before).media_id_M)

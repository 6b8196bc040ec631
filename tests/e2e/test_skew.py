"""Training and serving see the same: served requests recomputed from the raw event log, with training's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from bundles import layout
from features.assemble import assemble, candidate_view
from features.context import UserContexts
from features.dense import FEATURES
from features.embeddings import ItemEmbeddings, sparse_input
from features.item_table import ItemTable
from features.schema import Stage, of_stage
from features.view import View
from tests.e2e.conftest import Served
from training.contexts import ContextLog
from training.datasets import Dataset
from training.event_log import EventLog
from training.snapshots import ItemTables, ItemVectors, busiest_surfaces

REQUESTS = 1_000
TOLERANCE = 1e-5

Logged = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def logged(served: Served, request_logs: Path) -> dict[Stage, list[Logged]]:
    """What the ranking services logged of one page for each of 1,000 users."""
    served.page("a-page-behind-which-all-logs-are-written")
    for user in [str(number) for number in range(1, REQUESTS + 1)]:
        served.page(user)
    return {stage: [_read(path) for path in sorted((request_logs / stage).glob("*.npz"))] for stage in Stage}


@pytest.fixture(scope="module")
def offline(served: Served) -> Offline:
    return Offline(served)


class Offline:
    """Users and items as training cuts them out of the log; only vectors and models come from the bundle."""

    def __init__(self, served: Served) -> None:
        manifest = served.workspace.bundles().manifest(served.page("1").bundle_version)
        root = served.workspace.bundles().root / manifest.version
        published = ItemTable.open(root / layout.ITEMS)
        self.users = Users(served.dataset)
        vectors = ItemVectors(published.media_vector_MD, published.account_vector_UE)
        surfaces = busiest_surfaces(served.dataset.events)
        tables = ItemTables(self.users.log, served.dataset.media, vectors, surfaces=surfaces)
        self.items = tables.as_of(served.dataset.as_of_ms)
        self.embeddings = ItemEmbeddings.open(root / layout.RERANK_EMBEDDINGS)
        self.sessions = {s: onnxruntime.InferenceSession(str(root / layout.model(s))) for s in Stage}
        self.weights = manifest.value_weights["default"]

    def view(self, entry: Logged) -> View:
        """The logged candidates, seen by the logged user as the event log knows them at that time."""
        row_N = self.items.rows(entry["media_id_N"].astype(np.int64))
        context = self.users.at(str(entry["user_id_B"][0]), int(entry["request_time_ms_B"][0]))
        return candidate_view(context, self.items, row_N, np.zeros(len(row_N), dtype=np.int64))

    def scores(self, stage: Stage, view: View, entry: Logged) -> NDArray[np.float32]:
        """What the stage's graph makes of features that were computed here."""
        feed = {"dense_NF": assemble(view, of_stage(FEATURES, stage))}
        if stage is Stage.RERANK:
            sparse = sparse_input(view, self.embeddings)
            feed |= vars(sparse) | {"user_N": view.user_N}
        output = self.sessions[stage].run(None, feed)[0]
        if stage is Stage.PRERANK:
            return output
        weight_T = np.array([self.weights[str(task)] for task in entry["tasks"]])
        return (output * weight_T).sum(axis=1).astype(np.float32)


class Users:
    """Point-in-time users by id."""

    def __init__(self, dataset: Dataset) -> None:
        self.log = EventLog.from_dataset(dataset)
        self._contexts = ContextLog(self.log, dataset.users)
        self._number = {user_id: number for number, user_id in enumerate(self.log.user_ids)}

    def at(self, user_id: str, time_ms: int) -> UserContexts:
        return self._contexts.at(np.array([self._number[user_id]]), np.array([time_ms], dtype=np.int64), ["explore"])


def _read(path: Path) -> Logged:
    with np.load(path, allow_pickle=False) as columns:
        return dict(columns)


def _known(entries: list[Logged]) -> list[Logged]:
    return [entry for entry in entries if str(entry["user_id_B"][0]).isdigit()]


@pytest.mark.parametrize("stage", list(Stage))
def test_a_thousand_requests_are_logged(stage: Stage, logged: dict[Stage, list[Logged]]) -> None:
    assert len(_known(logged[stage])) >= REQUESTS


@pytest.mark.parametrize("stage", list(Stage))
def test_served_features_equal_those_recomputed_from_the_log(
    stage: Stage, logged: dict[Stage, list[Logged]], offline: Offline
) -> None:
    for entry in _known(logged[stage]):
        recomputed_NF = assemble(offline.view(entry), of_stage(FEATURES, stage))
        np.testing.assert_allclose(entry["dense_NF"], recomputed_NF, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("stage", list(Stage))
def test_served_scores_equal_those_recomputed_from_the_log(
    stage: Stage, logged: dict[Stage, list[Logged]], offline: Offline
) -> None:
    for entry in _known(logged[stage]):
        recomputed_N = offline.scores(stage, offline.view(entry), entry)
        np.testing.assert_allclose(entry["score_N"], recomputed_N, atol=TOLERANCE, rtol=TOLERANCE)

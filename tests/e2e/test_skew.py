"""Training and serving see the same: served requests recomputed from the raw event log, with training's code."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import numpy as np
import onnxruntime
import polars as pl
import pytest
from numpy.typing import NDArray
from valkey.asyncio import Valkey

from bundles import layout
from cli.commands.stack import active_manifest
from features.assemble import assemble, candidate_view
from features.context import LONG_HISTORY_LENGTH, UserContexts, concatenate
from features.dense import FEATURES, FINGERPRINT
from features.embeddings import ItemEmbeddings, sparse_input
from features.item_table import ItemTable
from features.schema import Stage, of_stage
from features.user_state import UserStateStore
from features.view import View
from serving.channels import RankCalls, open_channel
from serving.columns import CandidateColumns
from serving.wire import decode_rank_response, encode_contexts, encode_rank_request
from tests.e2e.conftest import LOGGED_REQUESTS, FunnelLog, Served
from training.contexts import ContextLog
from training.datasets import Dataset
from training.event_log import EventLog
from training.snapshots import ItemTables, ItemVectors, busiest_surfaces

USERS, CANDIDATES = 1_000, 25
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def logged(funnel_log: FunnelLog) -> list[Batch]:
    """All candidates of every logged request, with what rerank returned of its features and every stage of its scores."""
    return [_batch_of(rows) for rows in funnel_log.read().partition_by("request_id", maintain_order=True)]


@pytest.fixture(scope="module")
def asked(served: Served) -> list[Batch]:
    """A thousand users as the gateway reads them, each with 25 media, scored by every stage over its channel."""
    return asyncio.run(_ask_stages(served))


@pytest.fixture(scope="module")
def offline(served: Served) -> Offline:
    return Offline(served)


@dataclass(frozen=True)
class Batch:
    """Candidates of B users, and what the stages answered: scores, and features where they were asked for."""

    user_ids: tuple[str, ...]
    time_ms: int
    media_id_N: NDArray[np.int64]
    user_N: NDArray[np.int64]
    score_N: dict[Stage, NDArray[np.float32]]
    feature_NF: dict[Stage, NDArray[np.float32]]


def _batch_of(rows: pl.DataFrame) -> Batch:
    return Batch(
        user_ids=(rows["user_id"][0],),
        time_ms=int(rows["request_time"].dt.epoch("ms")[0]),
        media_id_N=rows["media_id"].to_numpy(),
        user_N=np.zeros(len(rows), dtype=np.int64),
        score_N={stage: rows[f"{stage}_score"].to_numpy() for stage in Stage},
        feature_NF={Stage.RERANK: rows["features"].to_numpy()},
    )


async def _ask_stages(served: Served) -> list[Batch]:
    """Every answer is put back into the order of its request."""
    ports, random = served.stack.ports, np.random.default_rng(0)
    time_ms, users = served.dataset.as_of_ms + 60_000, served.dataset.users["user_id"][:USERS].to_list()
    media = served.dataset.media.filter(pl.col("created_at").dt.epoch("ms") < served.dataset.as_of_ms)
    weights = active_manifest(served.workspace).value_weights["default"]
    batches = []
    async with AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(Valkey.from_url(ports.valkey_url))
        store, clients = UserStateStore(valkey), {}
        for stage in Stage:
            channel = await stack.enter_async_context(open_channel(ports.address(f"{stage}_svc")))
            clients[stage] = RankCalls(channel, stage.value)
        for start in range(0, USERS, 50):
            names = users[start : start + 50]
            contexts = concatenate([(await store.read(user)).context(user, time_ms, "explore") for user in names])
            candidates = _candidates(media, random, len(names))
            score_N, feature_NF = {}, {}
            for stage, client in clients.items():
                keep = [CANDIDATES] * len(names)
                request = encode_rank_request(
                    encode_contexts(contexts), candidates, weights=[weights] * len(names), keep=keep, with_features=True
                )
                answer = await client.rank(request, 30)
                ranked = decode_rank_response(answer, stage, candidates.offsets, keep, with_features=True)
                assert (ranked.feature_schema, len(ranked.row_M)) == (FINGERPRINT, len(candidates))
                assert ranked.features_MF is not None
                back_N = np.argsort(ranked.row_M)
                score_N[stage], feature_NF[stage] = ranked.score_M[back_N], ranked.features_MF[back_N]
            user_N = np.repeat(np.arange(len(names)), CANDIDATES)
            batches.append(Batch(tuple(names), time_ms, candidates.media_id_N, user_N, score_N, feature_NF))
    return batches


def _candidates(media: pl.DataFrame, random: np.random.Generator, users: int) -> CandidateColumns:
    row_N = np.concatenate([random.choice(len(media), CANDIDATES, replace=False) for _ in range(users)])
    zeros_N = np.zeros(len(row_N), dtype=np.int64)
    return CandidateColumns(
        offsets=np.arange(0, len(row_N) + 1, CANDIDATES, dtype=np.int64),
        media_id_N=media["media_id"].to_numpy()[row_N],
        author_id_N=media["author_id"].to_numpy()[row_N],
        seed_account_id_N=zeros_N,
        source_index_N=zeros_N.astype(np.uint8),
        score_N=np.full(len(row_N), np.nan, dtype=np.float32),
        sources=("any",),
    )


class Offline:
    """Users and items as training cuts them out of the log; only vectors and models come from the bundle."""

    def __init__(self, served: Served) -> None:
        manifest = active_manifest(served.workspace)
        root = served.workspace.bundles().root / manifest.version
        published = ItemTable.open(root / layout.ITEMS)
        self.users = Users(served.dataset)
        vectors = ItemVectors(published.media_vector_MD, published.account_vector_UE)
        surfaces = busiest_surfaces(self.users.log)
        tables = ItemTables(self.users.log, served.dataset.media, vectors, surfaces=surfaces)
        self.items = tables.as_of(served.dataset.as_of_ms)
        self.embeddings = ItemEmbeddings.open(root / layout.RERANK_EMBEDDINGS)
        self.sessions = {s: onnxruntime.InferenceSession(str(root / layout.model(s))) for s in Stage}
        self.weights, self.tasks = manifest.value_weights["default"], manifest.tasks

    def view(self, batch: Batch) -> View:
        """The candidates, seen by their users as the event log knows them at that time."""
        row_N = self.items.rows(batch.media_id_N)
        return candidate_view(self.users.at(batch.user_ids, batch.time_ms), self.items, row_N, batch.user_N)

    def scores(self, stage: Stage, view: View) -> NDArray[np.float32]:
        """What the stage's graph makes of features that were computed here."""
        feed = {"dense_NF": assemble(view, of_stage(FEATURES, stage))}
        if stage is Stage.RERANK:
            sparse = sparse_input(view, self.embeddings)
            feed |= vars(sparse) | {"user_N": view.user_N}
        output = self.sessions[stage].run(None, feed)[0]
        if stage is Stage.PRERANK:
            return output
        weight_T = np.array([self.weights[task] for task in self.tasks])
        return (output * weight_T).sum(axis=1).astype(np.float32)


class Users:
    """Point-in-time users by id."""

    def __init__(self, dataset: Dataset) -> None:
        self.log = EventLog.from_dataset(dataset)
        self._contexts = ContextLog(self.log, dataset.users)
        self._number = {user_id: number for number, user_id in enumerate(self.log.user_ids)}

    def at(self, user_ids: Sequence[str], time_ms: int) -> UserContexts:
        user_B = np.array([self._number[user_id] for user_id in user_ids])
        surfaces = ["explore"] * len(user_B)
        return self._contexts.at(user_B, np.full(len(user_B), time_ms), surfaces, LONG_HISTORY_LENGTH)


def test_what_is_compared_is_many(logged: list[Batch], asked: list[Batch]) -> None:
    assert (len(logged) >= LOGGED_REQUESTS, sum(len(batch.user_ids) for batch in asked)) == (True, USERS)
    assert all(len(batch.media_id_N) == 500 for batch in logged)


def test_logged_features_equal_those_recomputed_from_the_event_log(logged: list[Batch], offline: Offline) -> None:
    for batch in logged:
        recomputed_NF = assemble(offline.view(batch), of_stage(FEATURES, Stage.RERANK))
        _assert_equal(batch.feature_NF[Stage.RERANK], recomputed_NF)


@pytest.mark.parametrize("stage", list(Stage))
def test_logged_scores_equal_those_recomputed_from_the_event_log(
    stage: Stage, logged: list[Batch], offline: Offline
) -> None:
    for batch in logged[::4]:  # a quarter of them is 25,000 candidates
        _assert_equal(batch.score_N[stage], offline.scores(stage, offline.view(batch)))


@pytest.mark.parametrize("stage", list(Stage))
def test_a_stage_returns_the_features_and_scores_that_training_computes(
    stage: Stage, asked: list[Batch], offline: Offline
) -> None:
    for batch in asked:
        view = offline.view(batch)
        _assert_equal(batch.feature_NF[stage], assemble(view, of_stage(FEATURES, stage)))
        _assert_equal(batch.score_N[stage], offline.scores(stage, view))


def _assert_equal(served: NDArray[np.float32], recomputed: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(served, recomputed, atol=TOLERANCE, rtol=TOLERANCE)

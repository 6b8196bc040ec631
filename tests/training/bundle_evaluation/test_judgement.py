"""A bundle is worth on its own test window what training said, nothing more than itself, and pairs stay together."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from cli.workspace import Workspace
from features.dense import FINGERPRINT
from features.schema import RANKERS, Stage
from tests.training.bundle_evaluation.conftest import judged
from tests.variants import variant, without_ids
from training import metrics
from training.bundle_evaluation import MEASURES, NDCG_AT, JudgedLog, Judgement, OpenedBundle
from training.bundle_evaluation.measures import draws_of
from training.bundle_evaluation.predictions import predict
from training.datasets import Dataset, checked
from training.resampling import Judge


@pytest.fixture(name="without", scope="module")
def _without(trained: Workspace, opened: OpenedBundle, log: JudgedLog) -> Judgement:
    store = trained.bundles()
    manifest = variant(store, opened.version, without_ids)
    return judged(OpenedBundle.open(store.open(manifest.version, FINGERPRINT)), log)


@pytest.mark.parametrize("stage", ["rerank", "rank"])
def test_its_own_test_window_gives_the_metrics_of_training(judgement: Judgement, stage: str) -> None:
    trained: Any = judgement.opened.bundle.manifest.metrics
    assert len(judgement.predictions.rows) == trained["examples"]["test"]
    for task, measures in judgement.measured[Stage(stage)].items():
        said = trained[stage][task]
        for name in ("auc", "gauc", "log_loss", "ece"):
            # Users with few positives: one pair of nearly equal scores that falls the other way moves their mean.
            within = 1e-3 if name == "gauc" else 1e-4
            assert measures[name].mean == pytest.approx(said[name], abs=within), (task, name)
        assert judgement.about()["tasks"][task]["positives"] == said["n_positives"]


def test_gauc_compares_a_users_impressions_with_the_history_of_the_windows_start(judgement: Judgement) -> None:
    predictions, user_N = judgement.predictions, judgement.predictions.rows.user_N
    label_N = predictions.label_N("click")
    for stage in RANKERS:
        frozen_N, came_N = (of(stage, "click") for of in (predictions.frozen_of_task, predictions.of_task))
        found = judgement.measured[stage]["click"]["gauc"].mean
        assert found == pytest.approx(metrics.gauc(label_N, frozen_N, user_N))
        assert found != pytest.approx(metrics.gauc(label_N, came_N, user_N), abs=1e-6)
        assert judgement.measured[stage]["click"]["auc"].mean == pytest.approx(metrics.auc(label_N, came_N))
    found = judgement.measured[Stage.PRERANK]["click"]["gauc"].mean
    assert found == pytest.approx(metrics.gauc(label_N, predictions.frozen.prerank_N, user_N))


def test_orders_do_not_know_where_impressions_were_shown(judgement: Judgement) -> None:
    predictions, request_N = judgement.predictions, judgement.predictions.rows.request_N
    label_N, found = predictions.label_N("click"), {}
    for stage in RANKERS:
        of = Judge(label_N, draws_of(predictions))
        neutral_N, came_N = (each(stage, "click") for each in (predictions.neutral_of_task, predictions.of_task))
        found[stage] = judgement.measured[stage]["click"]["ndcg"].mean
        assert found[stage] == pytest.approx(of.ndcg(neutral_N[None], request_N, NDCG_AT).mean)
        assert found[stage] != pytest.approx(of.ndcg(came_N[None], request_N, NDCG_AT).mean, abs=1e-6)
    np.testing.assert_array_equal(predictions.neutral.prerank_N, predictions.answers.prerank_N)


def test_a_log_without_places_is_answered_once(dataset: Dataset, opened: OpenedBundle) -> None:
    placeless = dataset.events.with_columns(position=pl.lit(None, dtype=pl.Int32))
    log = JudgedLog(checked(dataset.users, dataset.media, placeless, name="placeless", as_of_ms=dataset.as_of_ms))
    rows = log.rows(opened, log.window(hours=1))
    assert rows.neutral is rows.rows
    answered = predict(opened, rows)
    assert answered.neutral is answered.answers


def test_a_bundle_is_not_ahead_of_itself(judgement: Judgement) -> None:
    leads = judgement.minus(judgement)
    assert set(leads["stages"]["rerank"]["click"]) == set(MEASURES)
    found = [
        lead for of_task in leads["stages"].values() for measures in of_task.values() for lead in measures.values()
    ]
    found += leads["funnel"].values()
    assert {tuple(lead.values()) for lead in found} == {(0.0, 0.0, 0.0)}


def test_differences_are_paired(judgement: Judgement, without: Judgement) -> None:
    """Two bundles that only differ in their ids err on the same users: their difference is known far better than either."""
    lead = judgement.minus(without)["stages"]
    alone, other = (one.measured[Stage.RERANK]["click"]["auc"].interval() for one in (judgement, without))
    auc = lead["rerank"]["click"]["auc"]
    assert auc["mean"] == pytest.approx(alone.mean - other.mean) != 0
    assert auc["low"] <= auc["mean"] <= auc["high"]
    assert auc["high"] - auc["low"] < (alone.high - alone.low) / 2
    assert lead["rank"]["click"]["auc"] == {"mean": 0, "low": 0, "high": 0}  # the light graph is the same


def test_intervals_hold_their_means(judgement: Judgement) -> None:
    for name in MEASURES:
        found = judgement.measured[Stage.RANK]["click"][name].interval()
        assert found.low < found.mean < found.high, name


def test_media_that_the_bundle_never_met_are_judged_without_their_vectors(
    dataset: Dataset, opened: OpenedBundle
) -> None:
    moved = {frame: pl.col("media_id") + 10**9 for frame in ("media", "events")}
    strangers = JudgedLog(
        checked(
            dataset.users,
            dataset.media.with_columns(moved["media"]),
            dataset.events.with_columns(moved["events"]),
            name="strangers",
            as_of_ms=dataset.as_of_ms,
        )
    )
    window = strangers.rows(opened, strangers.window())
    found = judged(opened, strangers)
    assert not window.tables.media_MK.any()
    assert np.array_equal(window.tables.account_UK, opened.embeddings.account_UK)  # authors are the same
    assert np.array_equal(window.tables.topic_TK, opened.embeddings.topic_TK)
    assert np.isfinite(found.predictions.answers.probability_NT[Stage.RERANK]).all()
    assert 0.5 < found.measured[Stage.RERANK]["click"]["auc"].mean < 1


def test_a_task_with_one_class_has_no_auc_but_a_loss(dataset: Dataset, opened: OpenedBundle) -> None:
    kept = dataset.events.filter(~pl.col("action").is_in(["hide", "report"]))
    log = JudgedLog(checked(dataset.users, dataset.media, kept, name="friendly", as_of_ms=dataset.as_of_ms))
    measures = judged(opened, log).measured[Stage.RERANK]["negative"]
    assert np.isnan([measures[name].mean for name in ("auc", "gauc", "ndcg")]).all()
    assert np.isnan(measures["auc"].interval().low)
    assert measures["log_loss"].mean < 0.1

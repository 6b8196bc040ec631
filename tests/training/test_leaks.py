"""No feature looks ahead, one that does is found, and labels that mean nothing teach nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from features.dense import FEATURES
from tests.training.logs import HOUR, START, planted
from tests.training.models.worlds import TASKS, item_table, ranking_set
from training import metrics
from training.datasets import Dataset
from training.errors import LeakError
from training.event_log import EventLog
from training.fit import FitConfig
from training.leaks import check_leaks, dense_columns, leaking_features
from training.models.id_embeddings import EmbeddingConfig
from training.rankers import RankConfig, RerankConfig, TrainedRank, TrainedRerank, train_rank, train_rerank
from training.ranking_set import RankingSet
from training.snapshots import ItemVectors

NAMES = [feature.name for feature in FEATURES]
DATA = planted(users=12)
MIDDLE = START + 35 * HOUR  # between two of the eight rounds of requests
FIT = FitConfig(epochs=2, learning_rate=1e-2, batch_rows=500)


def pairs() -> tuple[list[str], NDArray[np.int64]]:
    """Every user with every fourth media item, known ones and ones that come later."""
    users, media = DATA.users["user_id"].to_list(), DATA.media["media_id"].to_numpy()[::4]
    return [user for user in users for _ in media], np.tile(media, len(users)).astype(np.int64)


def unit_vectors() -> ItemVectors:
    log, random = EventLog.from_dataset(DATA), np.random.default_rng(2)
    made = (random.normal(size=(len(ids), 4)).astype(np.float32) for ids in (log.media_id_M, log.account_id_U))
    return ItemVectors(*(rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in made))


def later_clicks(dataset: Dataset) -> NDArray[np.float32]:
    """The column that a careless aggregate over the whole log makes: clicks of each item, whenever they came. [N, 1]"""
    clicks = dict(dataset.events.filter(pl.col("action") == "click").group_by("media_id").len().iter_rows())
    return np.array([[clicks.get(int(media), 0)] for media in pairs()[1]], dtype=np.float32)


@pytest.mark.parametrize("hours", [0, 1, 35, 70.01, 10_000])
def test_no_dense_feature_knows_what_comes_later(hours: float) -> None:
    time_ms = START + round(hours * HOUR)
    columns = dense_columns(*pairs(), time_ms, vectors=unit_vectors())
    assert leaking_features(columns, NAMES, DATA, time_ms) == ()


def test_the_check_looks_at_features_that_say_something() -> None:
    dense_NF = dense_columns(*pairs(), MIDDLE, vectors=unit_vectors())(DATA)
    for name in ("item_click_rate", "author_liked", "user_click_rate", "media_affinity", "topic_intent"):
        assert len(np.unique(dense_NF[:, NAMES.index(name)])) > 1, name


def test_an_event_at_the_very_moment_is_later() -> None:
    exact_ms = int(DATA.events["event_time"].dt.epoch("ms")[len(DATA.events) // 2])
    assert leaking_features(dense_columns(*pairs(), exact_ms), NAMES, DATA, exact_ms) == ()
    # The same columns of a millisecond later do know that event.
    found = leaking_features(dense_columns(*pairs(), exact_ms + 1), NAMES, DATA, exact_ms)
    assert "item_impressions" in found or "user_impressions" in found


def test_a_feature_that_knows_the_future_is_named_among_honest_ones() -> None:
    honest = dense_columns(*pairs(), MIDDLE)

    def columns(dataset: Dataset) -> NDArray[np.float32]:
        return np.concatenate([honest(dataset), later_clicks(dataset)], axis=1)

    with pytest.raises(LeakError, match="moment they describe: clicks_ever; compute") as caught:
        check_leaks(columns, [*NAMES, "clicks_ever"], DATA, MIDDLE)
    assert caught.value.features == ("clicks_ever",)
    check_leaks(honest, NAMES, DATA, MIDDLE)


def test_knowing_only_who_acts_on_what_later_is_a_leak_too() -> None:
    """As many events as before, of other media: only the mixed future tells."""

    def first_later_media(dataset: Dataset) -> NDArray[np.float32]:
        later = dataset.events.filter(pl.col("event_time").dt.epoch("ms") >= MIDDLE)
        return np.array([[later["media_id"][0] if len(later) else DATA_FIRST]], dtype=np.float32)

    DATA_FIRST = DATA.events.filter(pl.col("event_time").dt.epoch("ms") >= MIDDLE)["media_id"][0]
    assert leaking_features(first_later_media, ["next_media"], DATA, MIDDLE) == ("next_media",)


def test_a_user_who_only_comes_later_stays_known() -> None:
    nobody = replace(DATA, users=DATA.users.clear())
    assert leaking_features(dense_columns(*pairs(), START), NAMES, nobody, START) == ()


def test_columns_without_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(\d+, 1\) for 2 names"):
        leaking_features(later_clicks, ["one", "two"], DATA, MIDDLE)


# -- labels that mean nothing ---------------------------------------------------------------------------------------------------


def permuted(rows: RankingSet, seed: int) -> RankingSet:
    """The same impressions with the labels of other ones."""
    return replace(rows, label_NT=np.random.default_rng(seed).permutation(rows.label_NT))


def light(train: RankingSet, valid: RankingSet) -> TrainedRank:
    return train_rank(RankConfig(FIT), train, valid)


def deep(train: RankingSet, valid: RankingSet) -> TrainedRerank:
    config = RerankConfig(FIT, EmbeddingConfig(media_width=4, account_width=4))
    return train_rerank(config, train, valid, item_table())


@pytest.mark.parametrize("train", [light, deep])
def test_rankers_learn_nothing_from_shuffled_labels(train: Callable[..., TrainedRank | TrainedRerank]) -> None:
    sets = [ranking_set(n, seed) for seed, n in enumerate((400, 150, 300))]
    learned, chance = (
        train(made[0], made[1]).probabilities(made[2])
        for made in (sets, [permuted(rows, seed) for seed, rows in enumerate(sets)])
    )
    label_NT, shuffled_NT = sets[2].label_NT, permuted(sets[2], 2).label_NT
    for task in range(len(TASKS)):
        positives = float(label_NT[:, task].sum())
        # The spread of the AUC of a score that says nothing (Mann and Whitney, 1947); four of them.
        bound = 4 * np.sqrt((len(label_NT) + 1) / (12 * positives * (len(label_NT) - positives)))
        assert metrics.auc(shuffled_NT[:, task], chance[:, task]) == pytest.approx(0.5, abs=bound)
        assert metrics.auc(label_NT[:, task], learned[:, task]) > 0.5 + 2 * bound

"""Both rankers on planted signal: they find what is there, and nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.models.worlds import TASKS, item_table, ranking_set
from training.errors import FitError
from training.fit import FitConfig
from training.metrics import gauc
from training.models.architecture import Architecture
from training.models.id_embeddings import EmbeddingConfig
from training.models.ple import ProgressiveExtraction
from training.rankers import (
    RankConfig,
    RerankConfig,
    TrainedRank,
    TrainedRerank,
    kept_tasks,
    predictions,
    train_rank,
    train_rerank,
)
from training.ranking_set import RankingSet

pytestmark = pytest.mark.long

FIT = FitConfig(epochs=5, batch_rows=1000, learning_rate=5e-3, embedding_learning_rate=2e-2)
RANK = RankConfig(fit=FIT)
SMALL = Architecture("ple", "dcn", experts=2, hidden=32, output=32)  # the blocks of the default, faster
RERANK = RerankConfig(fit=FIT, embeddings=EmbeddingConfig(4, 4, 4), architecture=SMALL)
BRIEF = replace(FIT, epochs=1)
BRIEF_RANK, BRIEF_RERANK = replace(RANK, fit=BRIEF), replace(RERANK, fit=BRIEF)


@pytest.fixture(name="sets", scope="module")
def _sets() -> tuple[RankingSet, RankingSet]:
    return tuple(ranking_set(n, seed, sequence_weight=4.0) for seed, n in enumerate((1500, 800)))  # type: ignore[return-value]


@pytest.fixture(name="deep", scope="module")
def _deep(sets: tuple[RankingSet, RankingSet]) -> TrainedRerank:
    return train_rerank(RERANK, *sets, item_table())


def click_auc(trained: TrainedRank | TrainedRerank, sets: tuple[RankingSet, RankingSet]) -> float:
    return predictions(trained, sets[1]).metrics()["click"].auc


def shuffled(rows: RankingSet) -> RankingSet:
    return replace(rows, label_NT=np.random.default_rng(5).permutation(rows.label_NT))


def test_the_light_ranker_learns_the_dense_signal(sets: tuple[RankingSet, RankingSet]) -> None:
    trained = train_rank(RANK, *sets)
    assert trained.tasks == TASKS
    told = predictions(trained, sets[1], frozen=sets[1]).metrics()
    assert all(found.auc > 0.7 and found.gauc > 0.69 and found.ece < 0.06 for found in told.values())


def test_gauc_is_of_the_impressions_with_frozen_histories(sets: tuple[RankingSet, RankingSet]) -> None:
    trained, rows = train_rank(BRIEF_RANK, *sets), sets[1]
    frozen = replace(rows, dense_NF=-rows.dense_NF)
    told, plain = (predictions(trained, rows, frozen=each).metrics()["click"] for each in (frozen, rows))
    frozen_N = trained.probabilities(frozen)[:, 0]
    assert told.gauc == pytest.approx(gauc(rows.label_NT[:, 0], frozen_N, rows.user_N))
    assert told.gauc < 0.5 < plain.gauc
    assert (told.auc, told.log_loss) == (plain.auc, plain.log_loss)


def test_gauc_of_other_impressions_is_refused(sets: tuple[RankingSet, RankingSet]) -> None:
    trained, rows = train_rank(BRIEF_RANK, *sets), sets[1]
    with pytest.raises(ValueError, match="the same impressions in the same order"):
        predictions(trained, rows, frozen=replace(rows, row_N=rows.row_N[::-1]))


def test_the_deep_ranker_sees_the_sequence_that_the_light_one_cannot(
    sets: tuple[RankingSet, RankingSet], deep: TrainedRerank
) -> None:
    light = train_rank(RANK, *sets)
    assert click_auc(deep, sets) > click_auc(light, sets) + 0.04


def test_the_deep_ranker_sees_what_the_user_did_with_related_items_long_ago() -> None:
    train, valid = (ranking_set(n, seed, related_weight=4.0) for seed, n in enumerate((1500, 800)))
    blind = replace(train, related_action_NS=np.zeros_like(train.related_action_NS))
    seeing, unseeing = (train_rerank(RERANK, rows, valid, item_table()) for rows in (train, blind))
    assert click_auc(seeing, (train, valid)) > click_auc(unseeing, (train, valid)) + 0.05


def test_no_expert_is_the_only_one_that_is_heard(sets: tuple[RankingSet, RankingSet], deep: TrainedRerank) -> None:
    mixture = deep.model.mixture
    assert isinstance(mixture, ProgressiveExtraction)
    for gate_NE in mixture.first_weights(torch.randn(500, mixture.width)):
        assert gate_NE.mean(dim=0).max() < 0.9


def test_the_light_ranker_follows_its_teacher(sets: tuple[RankingSet, RankingSet], deep: TrainedRerank) -> None:
    """A teacher that saw true labels rescues a student whose own labels say nothing."""
    train, valid = shuffled(sets[0]), sets[1]
    taught = train_rank(RankConfig(fit=FIT, soft_weight=0.9), train, valid, deep)
    assert click_auc(taught, sets) > 0.68


def test_a_regression_is_mixed_in_after_the_network_was_trained_without_it(
    sets: tuple[RankingSet, RankingSet],
) -> None:
    """Rows with no sequence signal and too little training: the regression knows more than the network."""
    train, valid = (ranking_set(n, seed) for seed, n in enumerate((1500, 800)))
    beside = replace(BRIEF_RERANK, architecture=replace(SMALL, regression=True))
    alone, both = (train_rerank(config, train, valid, item_table()) for config in (BRIEF_RERANK, beside))
    assert both.model.blend is not None
    assert both.model.blend.share > 0.2
    assert both.curve == alone.curve
    assert click_auc(both, (train, valid)) > click_auc(alone, (train, valid)) + 0.002
    both.model.blend.share.fill_(0)
    assert np.array_equal(both.logits(valid), alone.logits(valid))


def test_the_same_seed_gives_the_same_probabilities(sets: tuple[RankingSet, RankingSet]) -> None:
    first, again = (train_rerank(BRIEF_RERANK, *sets, item_table()) for _ in range(2))
    assert np.array_equal(first.probabilities(sets[1]), again.probabilities(sets[1]))


def test_probabilities_do_not_depend_on_which_requests_are_asked_together(
    sets: tuple[RankingSet, RankingSet], deep: TrainedRerank
) -> None:
    valid = sets[1]
    alone = deep.probabilities(valid.select(slice(7, 8)))
    assert np.allclose(deep.probabilities(valid)[70:80], alone, atol=1e-6)


def test_tasks_with_few_positives_are_dropped_by_both_rankers(sets: tuple[RankingSet, RankingSet]) -> None:
    label_NT = sets[0].label_NT.copy()
    label_NT[:, 1] = np.arange(len(label_NT)) < 49
    assert kept_tasks(replace(sets[0], label_NT=label_NT), min_positives=50) == ("click", "negative")


def test_a_ranker_of_one_task_learns_that_one(sets: tuple[RankingSet, RankingSet]) -> None:
    alone = train_rerank(replace(RERANK, tasks=("like",)), *sets, item_table())
    told = predictions(alone, sets[1]).metrics()
    assert (alone.tasks, list(told)) == (("like",), ["like"])
    assert told["like"].auc > 0.7
    assert kept_tasks(sets[0], 50, ("negative", "click")) == ("click", "negative")


def test_a_task_that_the_set_does_not_have_is_refused(sets: tuple[RankingSet, RankingSet]) -> None:
    with pytest.raises(FitError, match="tasks clik are none of this set; it has click, like, negative"):
        kept_tasks(sets[0], 50, ("clik", "like"))


def test_a_set_without_any_positive_is_refused_with_its_counts(sets: tuple[RankingSet, RankingSet]) -> None:
    with pytest.raises(FitError, match=r"no task has 50 positives \(click 0, like 0, negative 0\)"):
        train_rank(RANK, replace(sets[0], label_NT=sets[0].label_NT * 0), sets[1])


def test_an_empty_validation_set_is_refused(sets: tuple[RankingSet, RankingSet]) -> None:
    with pytest.raises(FitError, match="no validation rows"):
        train_rank(RANK, sets[0], sets[1].select(slice(0, 0)))


def test_a_teacher_of_other_tasks_is_refused(sets: tuple[RankingSet, RankingSet], deep: TrainedRerank) -> None:
    with pytest.raises(FitError, match="the teacher predicts"):
        train_rank(RANK, *sets, replace(deep, tasks=("click",)))


@pytest.mark.parametrize("stage", ["rank", "rerank"])
def test_calibration_looks_at_other_requests_than_early_stopping_does(
    sets: tuple[RankingSet, RankingSet], stage: str
) -> None:
    """Labels that are turned around in every second request move the calibrated rates and leave the network as it is."""
    train, valid = sets
    label_NT = np.where((valid.request_N % 2 == 1)[:, None], 1 - valid.label_NT, valid.label_NT)
    first, second = (
        train_rank(BRIEF_RANK, train, rows)
        if stage == "rank"
        else train_rerank(BRIEF_RERANK, train, rows, item_table())
        for rows in (valid, replace(valid, label_NT=label_NT))
    )
    assert np.array_equal(first.logits(valid), second.logits(valid))
    assert not np.allclose(first.probabilities(valid), second.probabilities(valid), atol=0.1)


def test_predictions_tell_both_sides_of_calibration(sets: tuple[RankingSet, RankingSet], deep: TrainedRerank) -> None:
    made = predictions(deep, sets[1])
    found, curves = made.metrics()["click"], made.calibration()["click"]
    before, after = (
        np.average(np.abs(np.subtract(curve.predicted, curve.observed)), weights=curve.count)
        for curve in (curves.before, curves.after)
    )
    assert [found.ece_before, found.ece] == pytest.approx([before, after])
    assert sum(curves.after.count) == len(sets[1])


def test_both_rankers_take_percentiles(sets: tuple[RankingSet, RankingSet]) -> None:
    light = train_rank(replace(RANK, input="percentile"), *sets)
    assert click_auc(light, sets) > 0.65


def test_no_rows_have_no_probabilities(sets: tuple[RankingSet, RankingSet], deep: TrainedRerank) -> None:
    assert deep.probabilities(sets[1].select(slice(0, 0))).shape == (0, 3)

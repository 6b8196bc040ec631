"""What a bundle's predictions are worth per task, on draws of users that bundles share. Knows no graphs and no files.

NDCG is over requests: the lists that a user saw. Requests without a positive and those of one impression say nothing of order.
GAUC compares all impressions of a user, with the history that the user had when the window began (`training/evaluation.py`).
Both are of orders that serving could have made: every candidate stands where serving assumes it, not where it was shown. What
measures probabilities takes the places where impressions were shown, and so does AUC.
"""

from __future__ import annotations

from features.schema import Stage
from training.bundle_evaluation.predictions import BundlePredictions
from training.resampling import Draws, Judge, Judged

MEASURES = ("auc", "gauc", "ndcg", "log_loss", "ece")
NDCG_AT = 10
RESAMPLES = 300


def draws_of(predictions: BundlePredictions, resamples: int = RESAMPLES, seed: int = 0) -> Draws:
    """Draws of the window's users. The same for every bundle that is judged on the same window."""
    return Draws(predictions.rows.user_N, resamples, seed)


def judge(predictions: BundlePredictions, stage: Stage, task: str, draws: Draws) -> dict[str, Judged]:
    """All of `MEASURES` of one head of rank or rerank. NaN where a measure is undefined, as AUC is with one class only."""
    of, probability_SN = Judge(predictions.label_N(task), draws), predictions.of_task(stage, task)[None]
    return {
        "auc": of.auc(probability_SN),
        "gauc": of.gauc(predictions.frozen_of_task(stage, task)[None]),
        "ndcg": of.ndcg(predictions.neutral_of_task(stage, task)[None], predictions.rows.request_N, NDCG_AT),
        "log_loss": of.log_loss(probability_SN),
        "ece": of.ece(probability_SN),
    }


def judge_order(predictions: BundlePredictions, task: str, draws: Draws) -> dict[str, Judged]:
    """What prerank's one order is worth for a task: the measures that need no probability and compare within users or requests."""
    of, request_N = Judge(predictions.label_N(task), draws), predictions.rows.request_N
    return {
        "gauc": of.gauc(predictions.frozen.prerank_N[None]),
        "ndcg": of.ndcg(predictions.answers.prerank_N[None], request_N, NDCG_AT),
    }

"""Judges published bundles on logs: opens what a bundle holds, replays a test window, and says what its stages are worth there.

Reads bundles and data sets as anyone may find them, also those of another training run; knows no command and no service.
"""

from __future__ import annotations

from training.bundle_evaluation.ablation import Ablation, ablate, thinned
from training.bundle_evaluation.embedding_map import EmbeddingMap, map_accounts
from training.bundle_evaluation.judged_log import DEFAULT_HOURS, JudgedLog, Window, WindowRows
from training.bundle_evaluation.judgement import Judgement, judge_bundle
from training.bundle_evaluation.measures import MEASURES, NDCG_AT
from training.bundle_evaluation.opened import OpenedBundle
from training.bundle_evaluation.predictions import Answers, BundlePredictions, predict

__all__ = [
    "DEFAULT_HOURS",
    "MEASURES",
    "NDCG_AT",
    "Ablation",
    "Answers",
    "BundlePredictions",
    "EmbeddingMap",
    "JudgedLog",
    "Judgement",
    "OpenedBundle",
    "Window",
    "WindowRows",
    "ablate",
    "judge_bundle",
    "map_accounts",
    "predict",
    "thinned",
]

"""An input that says nothing loses nothing, and one that says much loses much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.dense import FEATURES
from features.item_table import UNKNOWN_ROW
from features.schema import Stage
from training.bundle_evaluation import Ablation, Judgement, ablate, thinned
from training.bundle_evaluation.ablation import HISTORY, IDS

CONSTANT = "item_age_hours"


@pytest.fixture(name="found", scope="module")
def _found(judgement: Judgement) -> dict[str, Ablation]:
    """Of rows on which one feature is constant, and which have neither ids nor histories."""
    rows = thinned(judgement.window.rows, most=3_000)
    dense_NF = rows.dense_NF.copy()
    dense_NF[:, [feature.name for feature in FEATURES].index(CONSTANT)] = 7
    bare = replace(
        rows,
        dense_NF=dense_NF,
        row_N=np.full_like(rows.row_N, UNKNOWN_ROW),
        history_row_BL=np.full_like(rows.history_row_BL, UNKNOWN_ROW),
        history_action_BL=np.zeros_like(rows.history_action_BL),
        history_age_ms_BL=np.zeros_like(rows.history_age_ms_BL),
        related_row_NS=np.full_like(rows.related_row_NS, UNKNOWN_ROW),
        related_action_NS=np.zeros_like(rows.related_action_NS),
        related_age_hours_NS=np.zeros_like(rows.related_age_hours_NS),
    )
    window = replace(judgement.window, rows=bare)
    return {one.name: one for one in ablate(judgement.opened, Stage.RERANK, window)}


@pytest.mark.parametrize("name", [CONSTANT, IDS, HISTORY])
def test_what_says_nothing_loses_nothing(found: dict[str, Ablation], name: str) -> None:
    losses = found[name].loss.values()
    assert {(loss.mean, loss.low, loss.high) for loss in losses} == {(0, 0, 0)}


def test_what_says_much_loses_much(found: dict[str, Ablation]) -> None:
    click = found["all cross features"].loss["click"]
    assert 0.02 < click.low < click.mean < click.high
    assert found["topic_share"].loss["click"].mean < click.mean


def test_every_feature_and_scope_is_there_once(found: dict[str, Ablation]) -> None:
    features = [name for name, one in found.items() if one.kind == "feature"]
    groups = [name for name, one in found.items() if one.kind == "group"]
    assert features == [feature.name for feature in FEATURES]
    assert groups == [IDS, HISTORY, *(f"all {scope} features" for scope in ("user", "request", "item", "cross"))]


def test_the_seed_decides_the_permutation(judgement: Judgement) -> None:
    window = replace(judgement.window, rows=thinned(judgement.window.rows, most=500))
    first, again, other = (
        {one.name: one.loss["click"] for one in ablate(judgement.opened, Stage.RANK, window, seed=seed)}
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert IDS not in first  # the light ranker reads none


def test_thinning_keeps_whole_requests(judgement: Judgement) -> None:
    rows = judgement.window.rows
    kept = thinned(rows, most=1_000)
    assert 500 < len(kept) <= 1_100
    assert np.isin(kept.time_ms_N, rows.time_ms_N).all()
    assert thinned(rows, most=len(rows)).n_requests == rows.n_requests

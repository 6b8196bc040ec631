"""Metrics that JSON can take, and what a seed reaches. The run itself is tested end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training.pipeline import plain
from training.recipes import RECIPES


def test_metrics_become_json_with_null_for_what_is_undefined() -> None:
    metrics = {"a": float("nan"), "b": [np.float32(0.5), np.int64(3)], "c": {"d": np.inf, "e": None, "f": "text"}}
    assert json.loads(json.dumps(plain(metrics))) == {
        "a": None,
        "b": [0.5, 3],
        "c": {"d": None, "e": None, "f": "text"},
    }


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_seed_reaches_every_step_and_changes_nothing_else(name: str) -> None:
    recipe = RECIPES[name]()
    seeded = recipe.seeded(77)
    seeds = [
        seeded.ig2vec.seed,
        seeded.two_tower.seed,
        *(part.fit.seed for part in (seeded.rerank, seeded.rank, seeded.student)),
    ]
    assert (seeds, seeded.seeded(1) == recipe.seeded(1)) == ([77] * 5, True)

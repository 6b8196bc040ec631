"""Metrics that JSON can take, what a seed reaches, what a yardstick may know. The run itself is tested end to end."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from features.context import UserContexts
from features.item_table import ItemTable
from tests.training.bundle_evaluation.conftest import Silent
from tests.training.logs import HOUR, planted
from training.checkpoints import KeepNothing
from training.errors import FitError
from training.pipeline import Run, plain
from training.preparation import Preparation
from training.recipes import RECIPES, Recipe, Windows
from training.slate_sourcing import Sourcing
from training.snapshots import ItemVectors
from training.two_tower import Positives, next_positive_recall

Int64 = NDArray[np.int64]


def test_metrics_become_json_with_null_for_what_is_undefined() -> None:
    metrics = {"a": float("nan"), "b": [np.float32(0.5), np.int64(3)], "c": {"d": np.inf, "e": None, "f": "text"}}
    assert json.loads(json.dumps(plain(metrics))) == {
        "a": None,
        "b": [0.5, 3],
        "c": {"d": None, "e": None, "f": "text"},
    }


def test_popularity_is_that_of_the_moment_at_which_the_vectors_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ItemTable] = []

    def recall(vector_MD: NDArray[np.float32], items: ItemTable, examples: Positives) -> tuple[float, float]:
        asked.append(items)
        return next_positive_recall(vector_MD, items, examples)

    monkeypatch.setattr("training.pipeline.next_positive_recall", recall)
    windows = Windows(embedding_share=0.2, valid_ms=12 * HOUR, test_ms=24 * HOUR)
    prepared = Preparation(Recipe("planted", windows), planted(users=6), Silent(), KeepNothing())
    tables = prepared.item_tables(ItemVectors.zeros(prepared.log))
    tables.as_of(prepared.cuts.end_ms)  # as it was when the rest of the bundle was made
    assert Run(prepared).sourcing_recall(tables)["examples"] > 10
    (items,) = asked
    assert items.as_of_ms == prepared.cuts.embedding_end_ms
    assert items.counts_MA.sum() == prepared.log.count_before(prepared.cuts.embedding_end_ms)


def test_sourcing_that_finds_nothing_is_named_before_rankers_are_trained() -> None:
    windows = Windows(embedding_share=0.2, valid_ms=12 * HOUR, test_ms=24 * HOUR)
    prepared = Preparation(Recipe("planted", windows), planted(users=6), Silent(), KeepNothing())
    items = prepared.item_tables(ItemVectors.zeros(prepared.log)).as_of(prepared.cuts.end_ms)

    def first(found: int) -> Sourcing:
        def sourcing(contexts: UserContexts, seen_B: Sequence[Int64], count: int) -> tuple[Int64, Int64]:
            found_B = np.array([0] * (len(seen_B) - 1) + [found])
            return items.media_id_M[: found_B.sum()], np.cumsum([0, *found_B])

        return sourcing

    with pytest.raises(
        FitError, match=r"no candidates at the end of the log, 2025-10-.* UTC, for any of 6 users: is created_at"
    ):
        Run(prepared).require_candidates(items, first(0))
    Run(prepared).require_candidates(items, first(1))


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

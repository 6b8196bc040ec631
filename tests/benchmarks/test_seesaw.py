"""What benchmarks/seesaw.py compares: a head among all with a ranker of its own, task by task, on the same draws of users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.models_rows import Rows
from benchmarks.seesaw import _checks, _compare
from tests.training.models.worlds import item_table, ranking_set
from training.fit import FitConfig
from training.models.id_embeddings import EmbeddingConfig
from training.progress import Progress
from training.rankers import RerankConfig


class Silent:
    """Progress that nobody watches."""

    @contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        yield lambda done, total: None


def test_heads_that_share_their_signal_do_not_hurt_each_other() -> None:
    config = RerankConfig(
        FitConfig(epochs=4, learning_rate=1e-2, batch_rows=500), EmbeddingConfig(media_width=4, account_width=4)
    )
    sets = [ranking_set(n, seed) for seed, n in enumerate((200, 100, 120))]
    found = _compare(Rows(sets[0], sets[1], sets[2], item_table(), config), seeds=2, resamples=50, progress=Silent())
    assert list(found) == ["click", "like", "negative"]
    for of_task in found.values():
        assert of_task["together"]["mean"] > 0.6
        assert of_task["alone"]["mean"] > 0.6
        assert len(of_task["together"]["by_seed"]) == 2
        difference = of_task["together"]["mean"] - of_task["alone"]["mean"]
        assert of_task["lead"]["mean"] == pytest.approx(difference)
        assert of_task["lead"]["low"] <= difference <= of_task["lead"]["high"]


def test_only_a_loss_that_the_rows_can_tell_fails() -> None:
    leads = {"click": -0.02, "like": 0.01}
    found = {task: {"lead": {"mean": -0.03, "low": -0.05, "high": high}} for task, high in leads.items()}
    assert [check.ok for check in _checks(found)] == [False, True]
    assert not _checks({"share": {"lead": {"mean": 0.0, "low": 0.0, "high": float("nan")}}})[0].ok

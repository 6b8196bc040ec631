"""What `explore train` says of the student's loss."""

from __future__ import annotations

import pytest

from cli.commands.train import _loss_lines
from training.distillation import ListLoss
from training.recipes import RECIPES

INTERVAL = {"mean": 0.991, "low": 0.982, "high": 0.997}


def test_the_chosen_loss_is_named_with_what_it_keeps() -> None:
    (line,) = _loss_lines({"chosen": "pselect", "table": {"list_mle": {}, "pselect": {"recall_page": INTERVAL}}})
    assert line.plain == (
        "prerank learned from pselect, the best of 2 losses: it keeps 0.991 [0.982, 0.997] of the best 25"
    )


def test_a_fixed_loss_is_named_and_an_earlier_release_says_nothing() -> None:
    (line,) = _loss_lines({"chosen": "list_mle", "table": {}})
    assert "learned from list_mle, which the recipe names" in line.plain
    assert _loss_lines(None) == []


@pytest.mark.parametrize("name", list(RECIPES))
def test_comparing_losses_changes_nothing_else_of_a_recipe(name: str) -> None:
    recipe = RECIPES[name]()
    compared = recipe.comparing_losses()
    assert recipe.student.compare_losses == ()
    assert compared.student.compare_losses == tuple(ListLoss)
    assert (compared.rank, compared.rerank, compared.n_slates) == (recipe.rank, recipe.rerank, recipe.n_slates)

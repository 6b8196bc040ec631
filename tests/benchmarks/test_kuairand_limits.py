"""How benchmarks/kuairand_limits.py varies the deep ranker and compares seeds."""

from __future__ import annotations

import pytest

from benchmarks.kuairand_limits import AS_IS, lead, variants
from training.recipes import RECIPES


def test_every_variant_is_another_configuration_with_the_seed_of_the_base() -> None:
    base = RECIPES["small"]().seeded(7).rerank
    made = variants(base)
    assert made[AS_IS] == base
    assert len({repr(config) for config in made.values()}) == len(made)
    assert {config.fit.seed for config in made.values()} == {7}


def test_a_lead_is_taken_seed_by_seed() -> None:
    assert lead([0.6, 0.9], [0.5, 0.7]) == pytest.approx([0.1, 0.2])


def test_one_model_for_all_seeds_is_held_against_their_mean() -> None:
    assert lead([0.7], [0.5, 0.7]) == pytest.approx([0.1])

"""What benchmarks/architectures.py compares: one change at a time, equal fits once, rarely seen media by training alone."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.architectures import _mean, seen_less_than
from benchmarks.architectures_runs import Fit, Key, _file, choices, fits, quick_choices
from benchmarks.models_rows import Rows
from tests.training.models.worlds import item_table, ranking_set
from training.models.architecture import Architecture
from training.rankers import RerankConfig
from training.resampling import Draws, Judge

ALONE = ("trained unknown", "ple", "dcn", "masknet", "wide", "percentile input")


@pytest.mark.parametrize("name", ALONE)
def test_a_choice_is_one_change_of_the_plain_ranker(name: str) -> None:
    made = choices(RerankConfig())
    plain, other = (_flat(asdict(made[key])) for key in ("plain", name))
    assert len({field for field in plain if plain[field] != other[field]}) == 1


def test_the_plain_ranker_does_not_depend_on_what_the_recipe_is_made_of() -> None:
    recipe = RerankConfig(architecture=Architecture("ple", "dcn", wide=True), input="percentile")
    assert choices(recipe)["plain"] == choices(RerankConfig())["plain"]
    assert choices(recipe)["recipe"] is recipe


def test_few_choices_still_hold_every_block() -> None:
    built = [config.architecture for config in quick_choices(RerankConfig()).values()]
    assert {each.mixture for each in built} == {"mmoe", "ple"}
    assert {each.crosses for each in built} == {"none", "dcn", "masknet"}
    assert {each.wide for each in built} == {True, False}


def test_what_the_folder_holds_is_not_made_again_and_equal_choices_share_it(tmp_path: Path) -> None:
    """There are no rows in this folder, so that a fit could only fail."""
    config = RerankConfig()
    kept = Fit(np.full((4, 2), 0.5, dtype=np.float32), np.full((3, 2), 0.25, dtype=np.float32), 7.0)
    np.savez(_file(Key("one", 1), config, tmp_path), **vars(kept))
    keys = [Key("one", 1), Key("other", 1)]
    found = dict(fits(keys, {"one": config, "other": replace(config)}, tmp_path, processes=1))
    assert set(found) == set(keys)
    for fit in found.values():
        assert (fit.seconds, fit.probability_NT.shape, fit.valid_NT.max()) == (7.0, (4, 2), 0.25)


def test_another_seed_and_another_configuration_are_other_fits(tmp_path: Path) -> None:
    config = RerankConfig()
    other = replace(config, architecture=Architecture(wide=True))
    files = [_file(Key("one", 1), config, tmp_path), _file(Key("one", 2), config, tmp_path)]
    assert len({*files, _file(Key("one", 1), other, tmp_path)}) == 3


def test_rarely_seen_is_what_training_showed_rarely() -> None:
    train, test = ranking_set(3), ranking_set(2, seed=1)
    train.row_N[:] = np.repeat([5, 6, 7], 10)
    test.row_N[:] = np.resize([5, 8], 20)
    rows = Rows(train, train, test, item_table(), RerankConfig())
    assert seen_less_than(1, rows).tolist() == [False, True] * 10
    assert seen_less_than(11, rows).all()


def test_a_mean_over_heads_is_taken_draw_by_draw() -> None:
    random = np.random.default_rng(0)
    user_N, score_SN = random.integers(0, 20, 200), random.random((2, 200)).astype(np.float32)
    heads = [
        Judge((random.random(200) < rate).astype(np.float32), Draws(user_N, resamples=5)).auc(score_SN)
        for rate in (0.5, 0.2)
    ]
    found = _mean(heads)
    np.testing.assert_allclose(found.mean_R, (heads[0].mean_R + heads[1].mean_R) / 2)
    assert found.mean == pytest.approx((heads[0].mean + heads[1].mean) / 2)
    assert len(found.by_seed) == 2


def _flat(fields: dict[str, Any], above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in fields.items():
        found |= _flat(value, f"{above}{name}.") if isinstance(value, dict) else {above + name: value}
    return found

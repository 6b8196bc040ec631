"""The fingerprint sees every change that would feed a model other numbers than it was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from features.actions import Action
from features.dense import FEATURES, FINGERPRINT
from features.history import ACTION_WEIGHT
from features.schema import ALL_STAGES, RANKERS, Feature, Scope, Stage, Transform, fingerprint, of_stage

CHANGES: dict[str, Any] = {
    "name": "another",
    "scope": Scope.ITEM,
    "transform": Transform.LOG1P,
    "stages": ALL_STAGES,
}


def feature(name: str = "one") -> Feature:
    return Feature(name, Scope.USER, lambda view: view.position_N)


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_declaration_changes_the_fingerprint(field: str) -> None:
    changed = replace(feature(), **{field: CHANGES[field]})
    assert fingerprint([feature()], {}) != fingerprint([changed], {})


def test_a_changed_constant_changes_the_fingerprint() -> None:
    assert fingerprint([feature()], {"half_life": 1}) != fingerprint([feature()], {"half_life": 2})


def test_the_order_of_the_features_is_part_of_the_fingerprint() -> None:
    assert fingerprint([feature("a"), feature("b")], {}) != fingerprint([feature("b"), feature("a")], {})


def test_another_feature_changes_the_fingerprint_of_the_product() -> None:
    assert fingerprint(FEATURES, {}) != fingerprint([*FEATURES, feature()], {})


def test_the_fingerprint_is_a_sha256_in_hex() -> None:
    assert len(FINGERPRINT) == 64
    assert int(FINGERPRINT, 16) > 0


def test_feature_names_are_unique() -> None:
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)


def test_a_stage_reads_its_features_in_declaration_order() -> None:
    light = of_stage(FEATURES, Stage.PRERANK)
    assert list(light) == [feature for feature in FEATURES if Stage.PRERANK in feature.stages]
    assert 0 < len(light) < len(of_stage(FEATURES, Stage.RANK))


def test_the_rankers_read_every_feature() -> None:
    assert all(feature.stages >= RANKERS for feature in FEATURES)


def test_every_action_of_a_history_has_a_weight() -> None:
    assert set(ACTION_WEIGHT) == set(Action) - {Action.IMPRESSION, Action.DWELL}

"""Features that are computed once per table: looked up they are what they are when computed; files that do not fit are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import item_features
from features.assemble import assemble, candidate_view
from features.dense import FEATURES
from features.item_features import ITEM_FEATURES, ItemFeatures, save_items
from features.item_table import ItemTable
from features.schema import Feature, Float32, Scope, Stage, of_stage
from features.view import View
from tests.features.worlds import KNOWN_MEDIA, USERS, User, contexts_of, item_table


@settings(max_examples=60, deadline=None)
@given(st.lists(USERS, min_size=1, max_size=3), st.integers(0, 20), st.sampled_from(list(Stage)))
def test_looked_up_features_equal_computed_ones(users: list[User], seed: int, stage: Stage) -> None:
    items, contexts, features = item_table(seed), contexts_of(users), of_stage(FEATURES, stage)
    row_N, user_N = np.tile(np.arange(len(KNOWN_MEDIA)), len(users)), np.repeat(np.arange(len(users)), len(KNOWN_MEDIA))
    computed = assemble(candidate_view(contexts, items, row_N, user_N), features)
    looked_up = candidate_view(contexts, items, row_N, user_N, item_features=ItemFeatures.of(items))
    np.testing.assert_array_equal(assemble(looked_up, features), computed)


@pytest.mark.parametrize("order", [1, -1])
def test_columns_stand_where_the_features_are_asked_for(order: int) -> None:
    features, items, contexts = FEATURES[::order], item_table(), contexts_of([User(), User()])
    row_N, user_N = np.array([5, 0, 3]), np.array([0, 1, 1])
    view = candidate_view(contexts, items, row_N, user_N, item_features=ItemFeatures.of(items))
    one_by_one = [assemble(candidate_view(contexts, items, row_N, user_N), [feature])[:, 0] for feature in features]
    np.testing.assert_array_equal(assemble(view, features), np.stack(one_by_one, axis=1))


@pytest.mark.parametrize("scope", [Scope.USER, Scope.REQUEST])
def test_what_depends_on_the_request_alone_is_computed_once_per_user(scope: Scope) -> None:
    seen: list[int] = []

    def watch(feature: Feature) -> Feature:
        def compute(view: View) -> Float32:
            seen.append(len(view.row_N))
            return feature.compute(view)

        return replace(feature, compute=compute)

    watched = [watch(feature) for feature in FEATURES if feature.scope is scope]
    assemble(
        candidate_view(contexts_of([User(), User()]), item_table(), np.arange(6), np.array([0] * 5 + [1])), watched
    )
    assert seen == [2] * len(watched)


def test_a_large_table_is_computed_in_parts(items: ItemTable, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ItemFeatures.of(items).value_MI
    monkeypatch.setattr(item_features, "_AT_ONCE", 4)
    np.testing.assert_array_equal(ItemFeatures.of(items).value_MI, whole)


def test_saved_features_open_memory_mapped_beside_their_table(items: ItemTable, tmp_path: Path) -> None:
    save_items(items, tmp_path)
    table = ItemTable.open(tmp_path)
    opened = ItemFeatures.open(tmp_path, table)
    assert isinstance(opened.value_MI.base, np.memmap)
    np.testing.assert_array_equal(opened.value_MI, ItemFeatures.of(table).value_MI)


def test_an_empty_table_has_no_features() -> None:
    empty = replace(item_table(), media_id_M=np.empty(0, dtype=np.int64))
    assert ItemFeatures.of(empty).value_MI.shape == (0, len(ITEM_FEATURES))


def test_features_of_another_table_are_refused(items: ItemTable, tmp_path: Path) -> None:
    save_items(items, tmp_path)
    longer = replace(items, media_id_M=np.arange(7))
    with pytest.raises(
        ValueError, match=rf"features_MI.npy holds float32 \(6, {len(ITEM_FEATURES)}\), expected float32 \(7"
    ):
        ItemFeatures.open(tmp_path, longer)


def test_a_missing_and_a_broken_file_are_named(items: ItemTable, tmp_path: Path) -> None:
    items.save(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"features_MI\.npy"):
        ItemFeatures.open(tmp_path, items)
    (tmp_path / "features_MI.npy").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"features_MI\.npy"):
        ItemFeatures.open(tmp_path, items)

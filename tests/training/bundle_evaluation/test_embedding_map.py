"""Accounts lie on the plane as their vectors lie in space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.models.worlds import N_ACCOUNTS, item_table
from training.bundle_evaluation import map_accounts


def test_groups_of_accounts_stay_apart_and_those_without_a_vector_are_left_out() -> None:
    random = np.random.default_rng(0)
    group_U = np.arange(N_ACCOUNTS) % 2
    vector_UE = random.normal(scale=0.05, size=(N_ACCOUNTS, 4)).astype(np.float32)
    vector_UE[:, 2] += np.where(group_U == 1, 1.0, -1.0)
    vector_UE[:3] = 0
    found = map_accounts(replace(item_table(), account_vector_UE=vector_UE))
    assert found is not None
    assert (len(found.place_I2), found.accounts) == (N_ACCOUNTS - 3, N_ACCOUNTS)
    assert found.explained[0] > 0.95 > found.explained[1]
    first_I = found.place_I2[:, 0]
    assert first_I[group_U[3:] == 1].min() > first_I[group_U[3:] == 0].max()
    between = np.linalg.norm(vector_UE[3] - vector_UE[4])
    assert np.linalg.norm(found.place_I2[0] - found.place_I2[1]) == pytest.approx(between, abs=0.1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_there_is_no_map_of_accounts_that_are_all_alike(value: float) -> None:
    vector_UE = np.full((N_ACCOUNTS, 4), value, dtype=np.float32)
    assert map_accounts(replace(item_table(), account_vector_UE=vector_UE)) is None

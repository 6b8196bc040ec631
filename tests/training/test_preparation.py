"""How a run cuts its log by time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.counters import DAY_MS
from features.dense import FEATURES
from tests.training.bundle_evaluation.conftest import Silent
from tests.training.logs import HOUR, planted
from training.checkpoints import KeepNothing
from training.errors import FitError
from training.preparation import Preparation, cut
from training.recipes import Recipe, Windows
from training.snapshots import ItemVectors

START_MS = 1_760_000_000_000


@given(st.floats(4, 400))
def test_windows_follow_each_other_to_the_end_of_the_log(days: float) -> None:
    cuts = cut(START_MS, START_MS + int(days * DAY_MS), Windows())
    assert cuts.start_ms < cuts.embedding_end_ms < cuts.valid_start_ms < cuts.test_start_ms < cuts.end_ms
    assert cuts.end_ms - cuts.test_start_ms == DAY_MS


def test_a_log_that_is_too_short_says_how_long_it_is() -> None:
    with pytest.raises(FitError, match="a log of 48 h leaves the rankers no time"):
        cut(START_MS, START_MS + 2 * DAY_MS, Windows())


def test_the_test_window_is_also_made_with_the_histories_of_its_start() -> None:
    windows = Windows(embedding_share=0.2, valid_ms=12 * HOUR, test_ms=24 * HOUR)
    prepared = Preparation(Recipe("planted", windows), planted(users=6), Silent(), KeepNothing())
    sets = prepared.ranking_sets(prepared.item_tables(ItemVectors.zeros(prepared.log)))
    assert len(sets.test) > 200
    assert sets.test.same_impressions(sets.frozen)
    seen = [feature.name for feature in FEATURES].index("user_impressions")
    first_X = np.unique(sets.test.user_N, return_index=True)[1]
    known_N = dict(zip(sets.test.user_N[first_X], sets.test.dense_NF[first_X, seen], strict=True))
    assert sets.frozen.dense_NF[:, seen].tolist() == [known_N[user] for user in sets.test.user_N]
    assert (sets.test.dense_NF[:, seen] >= sets.frozen.dense_NF[:, seen]).all()
    assert sets.test.dense_NF[:, seen].max() > sets.frozen.dense_NF[:, seen].max()

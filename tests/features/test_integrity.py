"""The integrity rule fails closed."""

from __future__ import annotations

import numpy as np
import pytest

from features.integrity import MissingScore, allows_missing, has_scores, recommendable

SCORES = np.array([0.0, 0.2, 0.21, 1.0, np.nan])


def test_scores_up_to_the_threshold_may_be_recommended() -> None:
    assert recommendable(SCORES, 0.2, allow_missing=False).tolist() == [True, True, False, False, False]


def test_a_missing_score_is_allowed_on_purpose_only() -> None:
    assert recommendable(SCORES, 0.2, allow_missing=True).tolist() == [True, True, False, False, True]


def test_an_installation_without_scores_is_recognised() -> None:
    assert (has_scores(SCORES), has_scores(SCORES[4:]), has_scores(SCORES[:0])) == (True, False, False)


@pytest.mark.parametrize(
    ("missing", "where_others_have_one", "where_none_has"),
    [("auto", False, True), ("allow", True, True), ("deny", False, False)],
)
def test_what_a_missing_score_means_is_decided_once_for_sourcing_and_fallback(
    missing: MissingScore, where_others_have_one: bool, where_none_has: bool
) -> None:
    assert allows_missing(missing, scored=True) == where_others_have_one
    assert allows_missing(missing, scored=False) == where_none_has

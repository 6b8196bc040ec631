"""The integrity rule fails closed."""

from __future__ import annotations

import numpy as np

from features.integrity import has_scores, recommendable

SCORES = np.array([0.0, 0.2, 0.21, 1.0, np.nan])


def test_scores_up_to_the_threshold_may_be_recommended() -> None:
    assert recommendable(SCORES, 0.2, allow_missing=False).tolist() == [True, True, False, False, False]


def test_a_missing_score_is_allowed_on_purpose_only() -> None:
    assert recommendable(SCORES, 0.2, allow_missing=True).tolist() == [True, True, False, False, True]


def test_an_installation_without_scores_is_recognised() -> None:
    assert (has_scores(SCORES), has_scores(SCORES[4:]), has_scores(SCORES[:0])) == (True, False, False)

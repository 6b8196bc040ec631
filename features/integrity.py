"""What the integrity model's scores allow. One rule for sourcing, for the fallback page and for evaluation. Fails closed."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

NON_RECOMMENDABLE_THRESHOLD = 0.2  # default: media whose score is above it are not recommended

# What media without a score get. "auto" allows them where no media item at all has one (no model is in use) and denies them where
# others have one (the model has not looked at these yet).
MissingScore = Literal["auto", "allow", "deny"]


def recommendable(score_X: NDArray[np.floating], threshold: float, allow_missing: bool) -> NDArray[np.bool_]:
    """Whether media with these scores may be recommended. Shape [X]. NaN means that the model has not looked at the media."""
    # Written so that NaN, which compares false with everything, is refused unless it is allowed on purpose.
    return (score_X <= threshold) | (np.isnan(score_X) & allow_missing)


def has_scores(score_M: NDArray[np.floating]) -> bool:
    """Whether any media item has a score: without an integrity model, a missing score says nothing about a media item."""
    return not bool(np.isnan(score_M).all())


def allows_missing(missing: MissingScore, scored: bool) -> bool:
    """Whether media without a score may be recommended. `scored`: whether any media item of the catalogue has one."""
    return missing == "allow" or (missing == "auto" and not scored)

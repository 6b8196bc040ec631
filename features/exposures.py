"""What one page showed, and by which chances: the record that ties what users did to what they were shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Exposure:
    """What one response showed, and how likely it was: what off-policy evaluation needs to know of it. K items of the page."""

    request_id: str
    user_id: str
    time_ms: int  # on the cascade's clock
    surface: str
    arms: Mapping[str, str]  # layer -> arm
    arm_propensity: float  # probability of this combination of arms
    bundle_version: str
    media_id_K: NDArray[np.int64]
    position_K: NDArray[np.int64]
    propensity_K: NDArray[
        np.float64
    ]  # probability that this item stood at this place, given the arms; 1 where nothing was random

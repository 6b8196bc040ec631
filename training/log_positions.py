"""Whether a log counts places on the page as serving does. Knows positions; knows nothing of models."""

from __future__ import annotations

import numpy as np

from training.columns import chunks
from training.errors import FitError
from training.event_log import EventLog


def check_positions(log: EventLog) -> None:
    """Raises FitError when events have positions and none of them is 0, the place that serving asks about (features.dense).

    A network that never saw that place makes up what happens there, and every served probability is off by it.
    """
    lowest = min((float(np.nanmin(log.position_E[of], initial=np.inf)) for of in chunks(0, len(log))), default=np.inf)
    if 0 < lowest < np.inf:
        raise FitError(
            f"column position: the lowest is {lowest:.0f}, but places on a page are counted from 0, as serving asks about the "
            f"first one; subtract {lowest:.0f}, or leave the column out"
        )

"""Whether a log can be cut by time at all: one wrong clock moves every window. Knows times; knows nothing of models.

Shapes: E events in time order, X events of a chunk.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from features.actions import Action
from training.columns import chunks
from training.errors import FitError
from training.event_log import EventLog

FEWEST_IMPRESSIONS = 10  # of a window: less measures nothing, and says that the window lies where the log does not
_STRAY_SHARE = 0.05  # of the events: what lies far from all others is no part of the log's time if it is no more
_NO_LOG_MS = (
    10 * 365 * 86_400_000
)  # however many events: nobody pauses a log for so long, but a clock in seconds says 1970


def check_times(log: EventLog) -> None:
    """Raises FitError, naming an event, when few events, or any by ten years, lie farther from all others than these are spread.

    The windows are shares and ends of the log's time, so that a clock that stood at 1970 would leave nearly all of it empty.
    """
    before, gap_ms = _widest_gap(log)
    few_first = before <= len(log) - before
    few = min(before, len(log) - before)
    if 2 * gap_ms <= int(log.time_ms_E[-1] - log.time_ms_E[0]) or (
        few > _STRAY_SHARE * len(log) and gap_ms < _NO_LOG_MS
    ):
        return
    # Of the few, the one next to the gap; they are named by their number if there are more.
    event, other = (before - 1, before) if few_first else (before, before - 1)
    which = "" if few == 1 else f" and {few - 1:,} more events {'before' if few_first else 'after'} it"
    raise FitError(
        f"column event_time: {_event(log, event)}{which} {'lies' if few == 1 else 'lie'} {gap_ms / 86_400_000:,.0f} days from "
        f"all the rest of the log ({moment(int(log.time_ms_E[other]))}), so that the log cannot be cut by time; correct the "
        "time, or leave these events out"
    )


def check_windows(log: EventLog, windows: Mapping[str, tuple[int, int]]) -> None:
    """Raises FitError, naming the window, when one of them, [start, end) in milliseconds, shows almost nothing."""
    for name, (start_ms, end_ms) in windows.items():
        first, after = log.count_before(start_ms), log.count_before(end_ms)
        shown = sum(int(np.sum(log.action_E[of] == Action.IMPRESSION)) for of in chunks(first, after))
        if shown < FEWEST_IMPRESSIONS:
            raise FitError(
                f"the {name} window, {moment(start_ms)} to {moment(end_ms)}, has {shown} impressions, fewer than "
                f"{FEWEST_IMPRESSIONS}; bring a log without such a gap, or change the recipe's windows. The log begins with "
                f"{_event(log, 0)} and ends with {_event(log, len(log) - 1)}: is one of these times wrong?"
            )


def moment(time_ms: int) -> str:
    """For people, UTC; also of a year that `datetime` does not know, as microseconds taken for milliseconds have."""
    return f"{np.datetime64(time_ms, 'ms').astype('datetime64[m]')} UTC".replace("T", " ", 1)


def _widest_gap(log: EventLog) -> tuple[int, int]:
    """The longest time without an event, in milliseconds, after how many events it comes first; (0, 0) where there is none."""
    widest = (0, 0)
    for of in chunks(1, len(log)):
        gap_ms_X = np.diff(log.time_ms_E[of.start - 1 : of.stop])
        place = int(gap_ms_X.argmax())
        if gap_ms_X[place] > widest[1]:
            widest = of.start + place, int(gap_ms_X[place])
    return widest


def _event(log: EventLog, event: int) -> str:
    user, media = log.user_ids[int(log.user_E[event])], int(log.media_id_E[event])
    return f"the event of user {user!r} on media {media} at {moment(int(log.time_ms_E[event]))}"

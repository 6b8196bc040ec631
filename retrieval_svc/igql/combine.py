"""How lists become one: shares by weight, one after the other, or the first that is long enough.

Shapes: B users, S inputs of a mix, P rows of all inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from retrieval_svc.flow import ALL, Flow, below_one, first_of_each, joined, stacked
from retrieval_svc.igql.operator import Run
from retrieval_svc.igql.plan import Fallback, Mix, Step
from serving.mixing import Portions, deal
from serving.ragged import Int64, ranges

Float64 = NDArray[np.float64]
Rows = Callable[[Step, Int64], Flow]

DUPLICATE, OVER_QUOTA = "duplicate", "over_quota"
_SLACK = 1.5  # rows read per row of a share at first: rules, duplicates and short lists take some
_GROWTH = 4


def cut(flow: Flow, want_B: Int64, run: Run) -> Flow:
    """The first `want_B` rows of every user; what lies beyond is counted as over quota."""
    count_B = flow.count_B
    if (count_B <= want_B).all():
        return flow
    kept_B = np.minimum(count_B, want_B)
    start_B = np.cumsum(count_B) - count_B
    beyond = ranges(start_B + kept_B, count_B - kept_B)
    first = flow.pick(ranges(start_B, kept_B))
    dropped = flow.counted(beyond, OVER_QUOTA, run.sources)
    return replace(first, more_B=flow.more_B | (kept_B < count_B), dropped=dropped)


def union(rows: Rows, run: Run, step: Step, want_B: Int64) -> Flow:
    """One list after the other; a row that came before is dropped. Behind a list that is not read to its end nothing follows."""
    parts: list[Flow] = []
    open_B = want_B > 0
    for each in step.inputs:
        part = rows(each, np.where(open_B, want_B, 0))
        if part.key_P is not None:
            part = replace(part, key_P=len(parts) + below_one(part.key_P))
        parts.append(part)
        open_B = open_B & ~part.more_B
    return first_of_each(joined(parts), run.sources, DUPLICATE)


def fallback(rows: Rows, step: Step, want_B: Int64) -> Flow:
    """Each user's first list of enough rows; where none is long enough, the longest."""
    assert isinstance(step.operator, Fallback)
    enough = step.operator.at_least
    parts: list[Flow] = []
    chosen_B = np.full(len(want_B), -1)
    for number, each in enumerate(step.inputs):
        open_B = (want_B > 0) & (chosen_B < 0)
        parts.append(rows(each, np.where(open_B, np.maximum(want_B, enough), 0)))
        chosen_B[open_B & (parts[-1].count_B >= enough)] = number
    longest_B = np.argmax([part.count_B for part in parts], axis=0)
    chosen_B = np.where(chosen_B < 0, longest_B, chosen_B)
    return joined([part.only(chosen_B == number) for number, part in enumerate(parts)])


def mix(rows: Rows, run: Run, step: Step, want_B: Int64, lazy: bool) -> Flow:
    """A list of the mix's size in shares by weight, each input spread evenly from top to end.

    A media item that several inputs have belongs to the one whose turn (place / weight) comes first. All inputs are read up to
    the same turn, so that an unread claim always comes later than every read one: reading further cannot change the answer.
    """
    assert isinstance(step.operator, Mix)
    size_B = np.where(want_B > 0, step.operator.size or run.audience.count_B, 0)
    portions = _portions(step, 1.0)
    leaves = portions.leaves()
    weight_S = np.array([weight for _, weight in leaves])
    turn_B = size_B * (_SLACK if lazy else ALL)
    while True:
        read_BS = np.minimum(np.floor(turn_B[:, None] * weight_S) + 1, ALL).astype(np.int64)
        read_BS = np.where(size_B[:, None] > 0, read_BS, 0)
        # What lies beyond the turn must not claim a media item yet.
        parts = [cut(rows(leaf, read_BS[:, s]), read_BS[:, s], run) for s, (leaf, _) in enumerate(leaves)]
        pool, part_P = stacked(parts)
        dealt = deal(
            pool.user_P,
            part_P,
            pool.row_P,
            size_B,
            weight_S,
            lambda available_BS: portions.shares(size_B, available_BS),
        )
        more_BS = np.stack([part.more_B for part in parts], axis=1)
        # An input that gave all it had read, although it has more, might have given more.
        short_B = (more_BS & (dealt.take_BS == dealt.available_BS)).any(axis=1)
        if not short_B.any():
            break
        turn_B = np.where(short_B, np.minimum(turn_B * _GROWTH, float(ALL) / weight_S.min()), turn_B)
    dropped = pool.counted(np.flatnonzero(dealt.duplicate_P), DUPLICATE, run.sources)
    dropped = pool.counted(np.flatnonzero(dealt.over_quota_P), OVER_QUOTA, run.sources, onto=dropped)
    mixed = replace(pool.pick(dealt.row_N), score_P=dealt.score_N, dropped=dropped)
    if mixed.key_P is not None:
        mixed = replace(mixed, key_P=-dealt.score_N)
    return replace(mixed, more_B=np.zeros(pool.users, dtype=np.bool_))


def _portions(step: Step, weight: float) -> Portions[Step]:
    if not isinstance(step.operator, Mix):  # a mix that has a size of its own is the input of a limit
        return Portions(weight, step)
    total = sum(step.operator.weights)
    parts = zip(step.operator.weights, step.inputs, strict=True)
    return Portions(weight, step, tuple(_portions(each, weight * own / total) for own, each in parts))

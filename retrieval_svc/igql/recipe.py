"""Which steps of a plan are lists that shards can answer each for itself, and how their lists become the answer.

Everything below the mixes, unions, fallbacks and diversify_by at the end of a query is such a list: its rows have keys that order
them over all shards. Where something else stands behind those (a rank; limits aside), each shard mixes a list of its own.

Shapes: B users, P rows of all users, L lists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval_svc.flow import Flow, stacked
from retrieval_svc.igql.execute import Execution
from retrieval_svc.igql.operator import Operator, Run
from retrieval_svc.igql.operators.shaping import AUTHOR_COLUMN, MAX_PER, DiversifyBy, Limit, column
from retrieval_svc.igql.plan import Fallback, Mix, Plan, Step, Union
from retrieval_svc.igql.stages import Stage
from serving.columns import CandidateColumns, Lists
from serving.ragged import Int64
from serving.recipe import ALL, FirstOf, ListOf, Mixed, Recipe, Spread, United

_List = tuple[int, str]  # number of the step, and the column over which its rows will be spread


@dataclass(frozen=True)
class Unmixed:
    """The lists of a plan before they become one. Rows are grouped by user, then by list, and have keys."""

    flow: Flow
    list_P: Int64
    group_P: Int64
    more_BL: NDArray[np.bool_]  # whether a list goes on beyond these rows
    recipe: Recipe

    def as_lists(self, candidates: CandidateColumns) -> Lists:
        """The same as it is sent. `candidates`: those rows."""
        key_N = np.empty(0) if self.flow.key_P is None else self.flow.key_P
        tie_N = np.zeros(len(key_N)) if self.flow.tie_P is None else self.flow.tie_P
        return Lists(candidates, self.list_P, key_N, tie_N, self.group_P, self.more_BL, self.recipe)


def lists_of(execution: Execution, plan: Plan) -> Unmixed:
    """What every list of the plan gives to the answer, read as far as this shard alone would need it."""
    execution.answer()
    steps: dict[_List, Step] = {}
    recipe = _recipe(plan.root, steps, "")
    parts = [execution.read(step) for step in steps.values()]
    groups = [_groups(execution.run, part, key) for part, (_, key) in zip(parts, steps, strict=True)]
    flow, list_P = stacked(parts)
    order_P = np.argsort(np.concatenate([part.user_P for part in parts]), kind="stable")
    return Unmixed(
        flow, list_P, np.concatenate(groups)[order_P], np.stack([part.more_B for part in parts], axis=1), recipe
    )


def _groups(run: Run, flow: Flow, key: str) -> Int64:
    return column(run, flow, key) if key else np.zeros(len(flow), dtype=np.int64)


def _recipe(step: Step, steps: dict[_List, Step], key: str) -> Recipe:
    """`steps` collects the lists, in the order of their numbers. `key`: the column over which their rows will be spread."""
    operator = step.operator
    if isinstance(operator, Mix):
        return Mixed(_parts(step, steps, key), operator.weights, operator.size or 0)
    if isinstance(operator, Fallback):
        return FirstOf(_parts(step, steps, key), operator.at_least)
    if isinstance(operator, Union):
        return United(_parts(step, steps, key))
    if isinstance(operator, Limit) and _is_merged(step.inputs[0], key):
        return replace(_recipe(step.inputs[0], steps, key), most=operator.count)
    if isinstance(operator, DiversifyBy) and _is_merged(step, key):
        max_per = operator.max_per if operator.method == MAX_PER else 0
        return Spread(_recipe(step.inputs[0], steps, operator.key), max_per)
    steps.setdefault((step.number, key), step)
    return ListOf(list(steps).index((step.number, key)), _most(step))


def _is_merged(step: Step, key: str) -> bool:
    """Whether a step is done with the rows of all shards. All media of an author are in one shard."""
    if isinstance(step.operator, DiversifyBy):
        return not key and step.operator.key != AUTHOR_COLUMN
    return not isinstance(step.operator, Operator)


def _parts(step: Step, steps: dict[_List, Step], key: str) -> tuple[Recipe, ...]:
    return tuple(_recipe(each, steps, key) for each in step.inputs)


def _most(step: Step) -> int:
    """How many rows a list has at most, over all shards: a limit of each of them would give each so many."""
    own = step.operator.most() if isinstance(step.operator, Operator) else None
    before = step.inputs[0] if len(step.inputs) == 1 and step.inputs[0].stage is Stage.MEDIA else None
    return min(ALL if own is None else own, ALL if before is None else _most(before))

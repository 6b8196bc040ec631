"""Which steps of a plan are lists that shards can answer each for itself, and how their lists become the answer.

Everything below the mixes, unions and fallbacks at the end of a query is such a list: its rows have keys that order them over all
shards. What stands behind those (a rank, a diversify_by; limits aside) makes one list of them, which each shard mixes for itself.

Shapes: B users, P rows of all users, L lists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval_svc.flow import Flow, stacked
from retrieval_svc.igql.execute import Execution
from retrieval_svc.igql.operator import Operator
from retrieval_svc.igql.operators.shaping import Limit
from retrieval_svc.igql.plan import Fallback, Mix, Plan, Step, Union
from retrieval_svc.igql.stages import Stage
from serving.ragged import Int64
from serving.recipe import ALL, FirstOf, ListOf, Mixed, Recipe, United


@dataclass(frozen=True)
class Unmixed:
    """The lists of a plan before they become one. Rows are grouped by user, then by list, and have keys."""

    flow: Flow
    list_P: Int64
    more_BL: NDArray[np.bool_]  # whether a list goes on beyond these rows
    recipe: Recipe


def lists_of(execution: Execution, plan: Plan) -> Unmixed:
    """What every list of the plan gives to the answer, read as far as this shard alone would need it."""
    execution.answer()
    steps: dict[int, Step] = {}
    recipe = _recipe(plan.root, steps)
    parts = [execution.read(step) for step in steps.values()]
    flow, list_P = stacked(parts)
    return Unmixed(flow, list_P, np.stack([part.more_B for part in parts], axis=1), recipe)


def _recipe(step: Step, steps: dict[int, Step]) -> Recipe:
    """`steps` collects the lists, in the order of their numbers."""
    operator = step.operator
    if isinstance(operator, Mix):
        return Mixed(_parts(step, steps), operator.weights, operator.size or 0)
    if isinstance(operator, Fallback):
        return FirstOf(_parts(step, steps), operator.at_least)
    if isinstance(operator, Union):
        return United(_parts(step, steps))
    if isinstance(operator, Limit) and not isinstance(step.inputs[0].operator, Operator):
        return replace(_recipe(step.inputs[0], steps), most=operator.count)
    steps.setdefault(step.number, step)
    return ListOf(list(steps).index(step.number), _most(step))


def _parts(step: Step, steps: dict[int, Step]) -> tuple[Recipe, ...]:
    return tuple(_recipe(each, steps) for each in step.inputs)


def _most(step: Step) -> int:
    """How many rows a list has at most, over all shards: a limit of each of them would give each so many."""
    own = step.operator.most() if isinstance(step.operator, Operator) else None
    before = step.inputs[0] if len(step.inputs) == 1 and step.inputs[0].stage is Stage.MEDIA else None
    return min(ALL if own is None else own, ALL if before is None else _most(before))

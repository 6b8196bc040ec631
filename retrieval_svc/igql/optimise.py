"""Rewrites a plan so that less work gives the same answer.

Limits need no rewriting: execution reads every list only as far as somebody asks (`execute.py`), which brings a limit down to where
rows are found. Here filters move down: in front of ranking, so that what is filtered out is never scored, and into every part of a
union. They do not move past diversify_by, sample or limit, which count rows, nor into mix or fallback, which count lists.
"""

from __future__ import annotations

from retrieval_svc.igql.operators.naming import Bind
from retrieval_svc.igql.operators.shaping import Filter, Limit, Rank
from retrieval_svc.igql.plan import Plan, Step, Steps, Union

_WIDEST = 16  # parts of a union that get a filter each; in wider ones many filters would become very many


def optimised(plan: Plan) -> Plan:
    """The same plan, rewritten."""
    steps = Steps()
    return Plan(_rewritten(plan.root, steps, {}), plan.sources, plan.unused)


def _rewritten(step: Step, steps: Steps, done: dict[int, Step]) -> Step:
    if step.number not in done:
        inputs = tuple(_rewritten(each, steps, done) for each in step.inputs)
        done[step.number] = _placed(step, inputs, steps)
    return done[step.number]


def _placed(step: Step, inputs: tuple[Step, ...], steps: Steps) -> Step:
    """A step over inputs that are rewritten already."""
    below = inputs[0] if inputs else None
    if below is not None and isinstance(step.operator, Filter | Limit):
        if isinstance(step.operator, Limit) and isinstance(below.operator, Limit):
            least = min(step.operator, below.operator, key=lambda limit: limit.count)
            return steps.make(least, below.inputs, step.stage, 0, step.at)
        if isinstance(step.operator, Filter) and _lets_filters_through(below):
            moved = tuple(_placed(step, (each,), steps) for each in below.inputs)
            return steps.make(below.operator, moved, below.stage, below.source, below.at)
    return steps.make(step.operator, inputs, step.stage, step.source, step.at)


def _lets_filters_through(step: Step) -> bool:
    """Whether dropping rows before a step or after it is the same: it neither counts rows nor compares them with others."""
    if isinstance(step.operator, Union):
        return len(step.inputs) <= _WIDEST
    return isinstance(step.operator, Rank) or (isinstance(step.operator, Bind) and not step.starts_media)

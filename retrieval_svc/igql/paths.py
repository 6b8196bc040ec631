"""The sources of a plan: for every step that finds media, its name and the operators that its media pass."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval_svc.igql.operator import Operator
from retrieval_svc.igql.operators.eligible import Eligible
from retrieval_svc.igql.operators.naming import Bind
from retrieval_svc.igql.plan import Source, Step

ARROW = " > "


def named_sources(root: Step, names: Sequence[str]) -> tuple[Source, ...]:
    """One source per number that a step carries, with its path: from the user to the result."""
    found: dict[int, Source] = {}
    _walk(root, (), names, found)
    return tuple(found.get(number, Source(name, "")) for number, name in enumerate(names))


def _walk(step: Step, after: tuple[str, ...], names: Sequence[str], found: dict[int, Source]) -> None:
    if step.starts_media:
        words = (*_words_up_to(step), *after)
        found.setdefault(step.source, Source(names[step.source], ARROW.join(words)))
        return
    hidden = isinstance(step.operator, Eligible | Bind)
    for each in step.inputs:
        _walk(each, after if hidden else (step.operator.name, *after), names, found)


def _words_up_to(step: Step) -> tuple[str, ...]:
    own = () if isinstance(step.operator, Bind) else (step.operator.name,)
    if not isinstance(step.operator, Operator):  # a combination of accounts or actions
        inner = " | ".join(ARROW.join(_words_up_to(each)) for each in step.inputs)
        return (f"{step.operator.name}({inner})",)
    return (*(_words_up_to(step.inputs[0]) if step.inputs else ()), *own)

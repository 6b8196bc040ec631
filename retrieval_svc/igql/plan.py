"""A checked query: a graph of steps, each an operator or a combination of its inputs. Knows no user and no catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from retrieval_svc.igql.errors import Position
from retrieval_svc.igql.operator import Operator
from retrieval_svc.igql.stages import Stage


@dataclass(frozen=True)
class Mix:
    """Shares by weight of a list of known length (the limit behind it, or what the request wants). Inputs weigh more than 0.

    Largest remainders decide the shares; what an input cannot fill, the others share by weight. An input that is itself a mix
    divides its share among its own inputs.
    """

    weights: tuple[float, ...]
    size: int | None  # None: as many as the request wants
    name = "mix"


@dataclass(frozen=True)
class Union:
    """The rows of all inputs one after the other, each row once."""

    name = "union"


@dataclass(frozen=True)
class Fallback:
    """Per user the first input that has at least `at_least` rows; where none has, the longest one."""

    at_least: int
    name = "fallback"


@dataclass(frozen=True, eq=False)
class Step:
    """One step. Equal steps of a plan are one object, so that it runs once."""

    number: int
    operator: Operator | Mix | Union | Fallback
    inputs: tuple[Step, ...]
    stage: Stage
    source: int  # number in `Plan.sources` of the media that start here; 0 elsewhere
    depth: int  # steps on the longest way to here, this one included
    at: Position = field(default_factory=lambda: Position(1, 1))

    @property
    def starts_media(self) -> bool:
        """Whether media are found here, rather than passed on."""
        finds = isinstance(self.operator, Operator) and self.stage is Stage.MEDIA
        return finds and (not self.inputs or self.inputs[0].stage is not Stage.MEDIA)


@dataclass(frozen=True)
class Source:
    """Where candidates come from: a sub-query's name, and the operators on the way."""

    name: str
    path: str


@dataclass(frozen=True)
class Plan:
    """What to run for a request."""

    root: Step
    sources: tuple[Source, ...]
    unused: tuple[str, ...] = ()  # sub-queries that nothing refers to

    def steps(self) -> list[Step]:
        """Every step once, inputs before what reads them."""
        found: dict[int, Step] = {}
        for step in _below(self.root):
            found.setdefault(step.number, step)
        return list(found.values())


def _below(step: Step) -> Iterator[Step]:
    for each in step.inputs:
        yield from _below(each)
    yield step


class Steps:
    """Makes steps; equal ones only once."""

    def __init__(self) -> None:
        self._made: dict[Any, Step] = {}

    def make(
        self, operator: Any, inputs: tuple[Step, ...], stage: Stage, source: int = 0, at: Position | None = None
    ) -> Step:
        key = (operator, tuple(each.number for each in inputs), stage, source)
        if key not in self._made:
            self._made[key] = Step(
                len(self._made),
                operator,
                inputs,
                stage,
                source,
                1 + max((each.depth for each in inputs), default=0),
                at or Position(1, 1),
            )
        return self._made[key]

    def __len__(self) -> int:
        return len(self._made)

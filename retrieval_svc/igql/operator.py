"""What an operator is: a frozen dataclass of its arguments that turns rows into rows. Knows no particular operator.

Shapes: B users.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from retrieval_svc.audience import Audience
from retrieval_svc.eligibility import Rule
from retrieval_svc.flow import ALL, Flow
from retrieval_svc.igql.arguments import Kind
from retrieval_svc.igql.stages import Stage
from serving.ragged import Int64


@dataclass(frozen=True)
class Run:
    """What an operator gets besides rows: the users of this batch, and the rules of the service."""

    audience: Audience
    rules: tuple[Rule, ...]
    sources: int  # S, how many sources the plan has
    keyed: bool = False  # whether the answer is to be merged with those of other shards


class Operator:
    """Base of all operators. A subclass is a frozen dataclass whose fields are made by `arguments.arg`.

    Its first docstring line is what `explore igql ops` shows. Operators hold no state: one instance serves all requests.
    """

    name: ClassVar[str]
    takes: ClassVar[tuple[Stage, ...]]
    gives: ClassVar[Stage | None]  # None: what it takes
    needs_all: ClassVar[bool] = False  # whether the first row of its answer may depend on the last one of its input
    endless: ClassVar[bool] = False  # whether it lists the whole catalogue unless somebody stops it
    thins: ClassVar[bool] = False  # whether it may drop rows in the middle, so that more must be asked for

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        """The first rows of the answer: at least `want_B` per user, or all there are.

        `flow` are the first rows of the input (operators that take the user get nobody's rows). A user who wants 0 may get nothing.
        Reads the columns of a user only, so that the answer never depends on who else is in the batch.
        """
        raise NotImplementedError

    def asks(self, want_B: Int64) -> Int64:
        """How many rows of the input it takes, at first, to answer with `want_B` rows."""
        return np.where(want_B > 0, ALL, 0) if self.needs_all else want_B

    def most(self) -> int | None:
        """How many rows per user it gives at most, whatever it is given; None where there is no such number."""
        return None


@dataclass(frozen=True)
class Parameter:
    """One argument of an operator, as declared."""

    name: str
    kind: Kind
    default: Any  # dataclasses.MISSING: must be given
    doc: str


def parameters(operator: type[Operator]) -> tuple[Parameter, ...]:
    """The arguments of an operator in the order in which they may be given by place."""
    fields = dataclasses.fields(operator)  # type: ignore[arg-type]
    return tuple(Parameter(f.name, f.metadata["kind"], f.default, f.metadata["doc"]) for f in fields)


OPERATORS: dict[str, tuple[type[Operator], ...]] = {}
_Class = TypeVar("_Class", bound=type[Operator])


def operator(
    name: str,
    takes: tuple[Stage, ...],
    gives: Stage | None,
    *,
    needs_all: bool = False,
    endless: bool = False,
    thins: bool = False,
) -> Callable[[_Class], _Class]:
    """Declares a class as the operator `name`. One name may have several operators that take different stages."""

    def declare(cls: _Class) -> _Class:
        made = dataclass(frozen=True)(cls)
        made.name, made.takes, made.gives = name, takes, gives
        made.needs_all, made.endless, made.thins = needs_all, endless, thins
        OPERATORS[name] = (*OPERATORS.get(name, ()), made)
        return made  # type: ignore[return-value]

    return declare


def summary(operator: type[Operator]) -> str:
    """The first line of its docstring."""
    return (operator.__doc__ or "").strip().splitlines()[0]

"""From the arguments of one call to an operator. Knows how arguments are declared; knows no particular operator.

Given by place or by name, each once, all that have no default: as in Python.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from retrieval_svc.igql.arguments import Kind
from retrieval_svc.igql.errors import IgqlError, suggestion
from retrieval_svc.igql.operator import Operator, Parameter, parameters
from retrieval_svc.igql.syntax import Argument, Call
from retrieval_svc.igql.vocabulary import Vocabulary


def bind(chosen: type[Operator], call: Call, vocabulary: Vocabulary) -> Operator:
    """The operator with the arguments of a call. Raises IgqlError at the first argument that is wrong."""
    known = {parameter.name: parameter for parameter in parameters(chosen)}
    given: dict[str, Any] = {}
    arguments = call.arguments or ()
    for place, argument in enumerate(arguments):
        parameter = _parameter(call, place, known)
        if parameter.name in given:
            raise IgqlError(f"argument {parameter.name!r} is given twice", argument.at)
        what = f"argument {parameter.name!r} of {call.name}"
        given[parameter.name] = read(what, parameter.kind, argument, vocabulary)
    for name, parameter in known.items():
        if name not in given and parameter.default is dataclasses.MISSING:
            raise IgqlError(f"{call.name} needs the argument {name!r}: {parameter.doc}", call.at)
    return chosen(**given)


def read(what: str, kind: Kind, argument: Argument, vocabulary: Vocabulary) -> Any:
    """The value of one argument. Raises IgqlError that begins with `what`."""
    try:
        return kind.read(argument.value, vocabulary)
    except IgqlError as error:
        raise IgqlError(f"{what}: {error.problem}", error.at, error.hint) from None


def _parameter(call: Call, place: int, known: dict[str, Parameter]) -> Parameter:
    """The parameter that the argument at a place is for."""
    arguments = call.arguments or ()
    name, at = arguments[place].name, arguments[place].at
    if name is None:
        if any(earlier.name is not None for earlier in arguments[:place]):
            raise IgqlError("an argument without a name stands behind one with a name", at)
        if place >= len(known):
            takes = f"takes at most {len(known)}: {', '.join(known)}" if known else "takes none"
            raise IgqlError(f"too many arguments: {call.name} {takes}", at)
        name = list(known)[place]
    if name not in known:
        raise IgqlError(f"{call.name} has no argument {name!r}", at, suggestion(name, known, "arguments"))
    return known[name]

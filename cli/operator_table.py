"""What `explore igql ops` tells: every operator and combination of the language, for people and for programs."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from retrieval_svc.igql import operators
from retrieval_svc.igql.arguments import DURATION, WINDOW, Kind, duration_text
from retrieval_svc.igql.operator import OPERATORS, Operator, parameters, summary
from retrieval_svc.igql.plan import Fallback, Mix, Union

assert operators  # importing the package declares the operators

_COMBINATIONS = (
    ("mix(NAME=WEIGHT, ...)", Mix),
    ("union(A, B, ...)", Union),
    ("fallback(A, B, ..., at_least=1)", Fallback),
)


def operator_facts() -> dict[str, list[dict[str, Any]]]:
    """Everything about the language's words as plain JSON. `gives` null: what it takes; `default` null: left out."""
    return {
        "operators": [_facts(each) for name in sorted(OPERATORS) for each in OPERATORS[name]],
        "combinations": [
            {"name": usage.split("(")[0], "usage": usage, "summary": _in_one_line(inspect.getdoc(each))}
            for usage, each in _COMBINATIONS
        ],
    }


def operator_table() -> RenderableType:
    """One paragraph per operator: from what to what, what it does, its arguments."""
    facts = operator_facts()
    parts: list[RenderableType] = [Text("Operators: user.OPERATOR(ARGUMENT, ...).OPERATOR(...)", "bold")]
    for each in facts["operators"]:
        takes, gives = " or ".join(each["takes"]), each["gives"] or "the same"
        parts += [Text.assemble("\n", (each["name"], "bold cyan"), f"   {takes} → {gives}"), _indented(each["summary"])]
        if each["arguments"]:
            parts.append(_arguments(each["arguments"]))
    parts.append(Text("\nCombinations, at the beginning of a query", "bold"))
    for each in facts["combinations"]:
        parts += [Text.assemble("\n", (each["usage"], "bold cyan")), _indented(each["summary"])]
    return Group(*parts)


def shown(value: Any, kind: Kind | None) -> str:
    """A checked argument as a query would spell it."""
    if kind in (DURATION, WINDOW):
        return duration_text(value)
    if isinstance(value, tuple):
        return f"[{', '.join(str(each) for each in value)}]"
    return str(value)


def _facts(operator: type[Operator]) -> dict[str, Any]:
    return {
        "name": operator.name,
        "takes": [stage.value for stage in operator.takes],
        "gives": None if operator.gives is None else operator.gives.value,
        "summary": summary(operator),
        "arguments": [
            {
                "name": each.name,
                "kind": each.kind.name,
                "required": each.default is dataclasses.MISSING,
                "default": _default(each.default, each.kind),
                "doc": each.doc,
            }
            for each in parameters(operator)
        ],
    }


def _default(value: Any, kind: Kind) -> Any:
    if value is dataclasses.MISSING or value is None:
        return None
    return value if isinstance(value, int | float) and kind not in (DURATION, WINDOW) else shown(value, kind)


def _arguments(arguments: list[dict[str, Any]]) -> RenderableType:
    table = Table(box=None, show_header=False)
    for each in arguments:
        default = "must be given" if each["required"] else "" if each["default"] is None else f"= {each['default']}"
        table.add_row(*(Text(text) for text in (each["name"], default, each["kind"], each["doc"])))
    return Padding(table, (0, 0, 0, 3), expand=False)


def _indented(text: str) -> RenderableType:
    return Padding(Text(text), (0, 0, 0, 4), expand=False)


def _in_one_line(text: str | None) -> str:
    return " ".join((text or "").split())

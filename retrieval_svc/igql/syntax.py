"""From text to a tree of words with their places. Knows the grammar; knows no operator, type or bundle."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken

from retrieval_svc.igql.errors import IgqlError, Position

MAX_CHARACTERS = 100_000
MAX_DEPTH = 50  # of nested calls; a query written by people has a handful
_MAX_DIGITS = 30


@dataclass(frozen=True)
class Number:
    """A plain number, or one with a unit (`48h`): `unit` is empty for a plain one."""

    value: float
    unit: str
    text: str
    at: Position


@dataclass(frozen=True)
class Text:
    """A quoted word."""

    value: str
    at: Position


@dataclass(frozen=True)
class Items:
    """A list in brackets."""

    values: tuple[Value, ...]
    at: Position


@dataclass(frozen=True)
class Argument:
    """One argument of a call; `name` is None for one that is given by its place."""

    name: str | None
    value: Value
    at: Position


@dataclass(frozen=True)
class Call:
    """`name(arguments)`; `arguments` is None for a bare name."""

    name: str
    arguments: tuple[Argument, ...] | None
    at: Position


@dataclass(frozen=True)
class Pipeline:
    """A head and the calls chained to it. A bare name is a pipeline without calls."""

    head: Call
    calls: tuple[Call, ...]
    depth: int

    @property
    def at(self) -> Position:
        return self.head.at


@dataclass(frozen=True)
class Definition:
    """`name = pipeline`; the result of the program has no name."""

    name: str | None
    pipeline: Pipeline
    at: Position


Value = Number | Text | Items | Pipeline

_EXPECTED = {
    "NAME": "a name",
    "NUMBER": "a number",
    "QUANTITY": "a number with a unit",
    "STRING": "a text in quotes",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "DOT": "'.'",
    "COMMA": "','",
    "EQUAL": "'='",
    "$END": "the end",
}


def parse(text: str) -> tuple[Definition, ...]:
    """The statements of a program, in order. Raises IgqlError where the text is none."""
    if len(text) > MAX_CHARACTERS:
        raise IgqlError(f"has {len(text):,} characters, at most {MAX_CHARACTERS:,} are read", Position(1, 1))
    try:
        return _PARSER.parse(text)  # type: ignore[return-value]
    except UnexpectedInput as error:
        raise _syntax_error(error, text) from None


def _syntax_error(error: UnexpectedInput, text: str) -> IgqlError:
    end = Position(text.count("\n") + 1, len(text.rsplit("\n", 1)[-1]) + 1)
    if isinstance(error, UnexpectedCharacters):
        return IgqlError(f"unexpected character {error.char!r}", Position(error.line, error.column))
    names: Iterable[str] = getattr(error, "accepts", None) or getattr(error, "expected", None) or ()
    expected = sorted(_EXPECTED.get(name, name.lower()) for name in names)
    hint = f"expected {' or '.join(expected)}"
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        at = _position(error.token)
        return IgqlError(f"unexpected {str(error.token)!r}", at, hint)
    if isinstance(error, UnexpectedEOF | UnexpectedToken):
        return IgqlError("the text ends too early", end, hint)
    return IgqlError("cannot be read", end, hint)


def _position(token: Token) -> Position:
    return Position(token.line or 1, token.column or 1, max(1, len(token)))


class _Tree(Transformer[Token, Any]):
    """Builds the tree while the parser runs, so that depth is known before anything recurses into it."""

    def start(self, statements: list[Definition]) -> tuple[Definition, ...]:
        return tuple(statements)

    def define(self, parts: list[Any]) -> Definition:
        return Definition(str(parts[0]), parts[1], _position(parts[0]))

    def result(self, parts: list[Any]) -> Definition:
        return Definition(None, parts[0], parts[0].at)

    def pipeline(self, parts: list[Call]) -> Pipeline:
        depth = 1 + max(_depth(argument.value) for call in parts for argument in call.arguments or _NO_ARGUMENT)
        if depth > MAX_DEPTH:
            raise IgqlError(f"is nested more than {MAX_DEPTH} deep", parts[0].at, "name the inner parts")
        return Pipeline(parts[0], tuple(parts[1:]), depth)

    def head(self, parts: list[Any]) -> Call:
        return Call(str(parts[0]), parts[1] if len(parts) > 1 else None, _position(parts[0]))

    call = head

    def arguments(self, parts: list[Argument | None]) -> tuple[Argument, ...]:
        return tuple(part for part in parts if part is not None)

    def named(self, parts: list[Any]) -> Argument:
        return Argument(str(parts[0]), parts[1], _position(parts[0]))

    def unnamed(self, parts: list[Any]) -> Argument:
        return Argument(None, parts[0], parts[0].at)

    def number(self, parts: list[Token]) -> Number:
        return _number(parts[0], str(parts[0]), "")

    def quantity(self, parts: list[Token]) -> Number:
        text = str(parts[0])
        digits = len(text) - len(text.lstrip("-0123456789."))
        return _number(parts[0], text[:digits], text[digits:])

    def string(self, parts: list[Token]) -> Text:
        return Text(str(parts[0])[1:-1], _position(parts[0]))

    def list(self, parts: list[Any]) -> Items:
        values = tuple(part for part in parts[1:] if part is not None)
        return Items(values, values[0].at if values else _position(parts[0]))


_NO_ARGUMENT = (Argument(None, Text("", Position(1, 1)), Position(1, 1)),)


def _depth(value: Value) -> int:
    if isinstance(value, Items):
        return 1 + max((_depth(each) for each in value.values), default=0)
    return value.depth if isinstance(value, Pipeline) else 0


def _number(token: Token, digits: str, unit: str) -> Number:
    if len(digits) > _MAX_DIGITS:
        raise IgqlError(f"a number of {len(digits)} digits", _position(token))
    return Number(float(digits), unit, str(token), _position(token))


_PARSER = Lark(
    (Path(__file__).parent / "grammar.lark").read_text(encoding="utf-8"),
    parser="lalr",
    transformer=_Tree(),
    maybe_placeholders=False,
)

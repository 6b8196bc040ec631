"""The kinds of arguments that operators take: from a word of the query to a checked Python value.

Knows the vocabulary of a bundle; knows no operator.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from features.actions import HISTORY_ACTIONS, NEGATIVE_ACTIONS, action_name
from features.counters import DAY_MS, HOUR_MS
from retrieval_svc.igql.errors import IgqlError, suggestion
from retrieval_svc.igql.syntax import Items, Number, Pipeline, Text, Value
from retrieval_svc.igql.vocabulary import Vocabulary

UNITS_MS = {"s": 1_000, "m": 60_000, "h": HOUR_MS, "d": DAY_MS, "w": 7 * DAY_MS}
ANY_ACTION = "any"
_MOST = 1_000_000
_LONGEST_MS = 3_650 * DAY_MS
_ACTION_NAMES = {action_name(action): action for action in sorted(HISTORY_ACTIONS - NEGATIVE_ACTIONS)}


@dataclass(frozen=True)
class Kind:
    """One kind of argument. `read` turns a value of the query into a Python value, or raises IgqlError at it."""

    name: str  # what `explore igql ops` calls it
    read: Callable[[Value, Vocabulary], Any]


def arg(kind: Kind, doc: str, default: Any = dataclasses.MISSING) -> Any:
    """A parameter of an operator. Without a default it must be given."""
    return dataclasses.field(default=default, metadata={"kind": kind, "doc": doc})


def _count(value: Value, _: Vocabulary) -> int:
    number = _plain(value, "a whole number, for example 30")
    if number != int(number) or not 1 <= number <= _MOST:
        raise IgqlError(f"must be a whole number from 1 to {_MOST:,}, got {_shown(value)}", value.at)
    return int(number)


def _fraction(value: Value, _: Vocabulary) -> float:
    number = _plain(value, "a number from 0 to 1, for example 0.2")
    if not 0 <= number <= 1:
        raise IgqlError(f"must be from 0 to 1, got {_shown(value)}", value.at)
    return number


def _weight(value: Value, _: Vocabulary) -> float:
    number = _plain(value, "a weight, for example 0.3")
    if not (math.isfinite(number) and 0 <= number <= _MOST):
        raise IgqlError(f"must be a weight from 0 to {_MOST:,}, got {_shown(value)}", value.at)
    return number


def _duration(value: Value, _: Vocabulary) -> int:
    units = ", ".join(UNITS_MS)
    if not isinstance(value, Number):
        raise IgqlError(f"must be a duration, for example 48h, got {_shown(value)}", value.at)
    if not value.unit:
        raise IgqlError(f"is a duration and needs a unit: {value.text}h? (units: {units})", value.at)
    if value.unit not in UNITS_MS:
        raise IgqlError(f"unknown unit {value.unit!r}", value.at, suggestion(value.unit, UNITS_MS, "units"))
    milliseconds = round(value.value * UNITS_MS[value.unit])
    if not 0 < milliseconds <= _LONGEST_MS:
        raise IgqlError(f"must be longer than 0 and at most ten years, got {value.text}", value.at)
    return milliseconds


def _window(value: Value, vocabulary: Vocabulary) -> int:
    window_ms = _duration(value, vocabulary)
    if window_ms not in vocabulary.windows_ms:
        raise IgqlError(
            f"no window of {_shown(value)} is published with the bundle",
            value.at,
            f"windows: {', '.join(duration_text(each) for each in vocabulary.windows_ms) or 'none'}",
        )
    return window_ms


def _action(value: Value, _: Vocabulary) -> str:
    return _one_of(value, (ANY_ACTION, *_ACTION_NAMES), "action", "actions")


def _embedding(value: Value, vocabulary: Vocabulary) -> str:
    return _one_of(value, vocabulary.embeddings, "embedding", "embeddings")


def _media_embedding(value: Value, vocabulary: Vocabulary) -> str:
    return _one_of(value, vocabulary.media_embeddings, "model", "models")


def _topics(value: Value, vocabulary: Vocabulary) -> tuple[str, ...]:
    values = value.values if isinstance(value, Items) else (value,)
    if not values:
        raise IgqlError("must name at least one topic", value.at)
    if vocabulary.topics is None:
        return tuple(_word(each, "a topic") for each in values)
    return tuple(_one_of(each, vocabulary.topics, "topic", "topics") for each in values)


def _column(value: Value, _: Vocabulary) -> str:
    return _word(value, "the name of a column, for example seed_id")


def choice(what: str, names: tuple[str, ...]) -> Kind:
    """One of a few words; `what` says what they are, in messages."""
    return Kind(" | ".join(names), lambda value, _: _one_of(value, names, what, f"{what}s"))


COUNT = Kind("count", _count)
FRACTION = Kind("number from 0 to 1", _fraction)
WEIGHT = Kind("weight", _weight)
DURATION = Kind("duration", _duration)
WINDOW = Kind("published window", _window)
ACTION = Kind("action", _action)
EMBEDDING = Kind("account embedding", _embedding)
MEDIA_EMBEDDING = Kind("two-tower model", _media_embedding)
TOPICS = Kind("topics", _topics)
COLUMN = Kind("column", _column)


def duration_text(milliseconds: int) -> str:
    """A duration in the largest unit that it is a whole number of: `48h`."""
    if milliseconds >= 3 * DAY_MS and milliseconds % DAY_MS == 0:  # people say 48h, but 7d
        return f"{milliseconds // DAY_MS}d"
    units = [unit for unit in ("h", "m", "s") if milliseconds % UNITS_MS[unit] == 0]
    return f"{milliseconds // UNITS_MS[units[0]]}{units[0]}" if units else f"{milliseconds / 1000:g}s"


def _one_of(value: Value, names: tuple[str, ...], what: str, plural: str) -> str:
    word = _word(value, f"an {what}" if what[0] in "aeiou" else f"a {what}")
    if word not in names:
        raise IgqlError(f"unknown {what} {word!r}", value.at, suggestion(word, names, plural))
    return word


def _word(value: Value, expected: str) -> str:
    if isinstance(value, Text):
        return value.value
    if isinstance(value, Pipeline) and not value.calls and value.head.arguments is None:
        return value.head.name
    raise IgqlError(f"must be {expected}, got {_shown(value)}", value.at)


def _plain(value: Value, expected: str) -> float:
    if not isinstance(value, Number):
        raise IgqlError(f"must be {expected}, got {_shown(value)}", value.at)
    if value.unit:
        raise IgqlError(f"must be {expected}; it takes no unit, got {value.text}", value.at)
    return value.value


def _shown(value: Value) -> str:
    if isinstance(value, Number):
        return value.text
    if isinstance(value, Text):
        return f'"{value.value}"'
    if isinstance(value, Items):
        return "a list"
    if value.calls or value.head.arguments is not None:
        return f"a query ({value.head.name}...)"
    return repr(value.head.name)

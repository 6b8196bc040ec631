from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.actions import HISTORY_ACTIONS, NEGATIVE_ACTIONS, action_name
from features.counters import DAY_MS, HOUR_MS
from retrieval_svc.igql.arguments import (
    ACTION,
    COLUMN,
    COUNT,
    DURATION,
    EMBEDDING,
    FRACTION,
    MEDIA_EMBEDDING,
    TOPICS,
    UNITS_MS,
    WEIGHT,
    WINDOW,
    Kind,
    choice,
    duration_text,
)
from retrieval_svc.igql.errors import IgqlError
from retrieval_svc.igql.operator import OPERATORS, parameters, summary
from retrieval_svc.igql.syntax import parse
from retrieval_svc.igql.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("default", "old"), ("towers",), (DAY_MS, 2 * DAY_MS), ("food", "fine art"))


def read(kind: Kind, word: str, vocabulary: Vocabulary = VOCABULARY) -> Any:
    (argument,) = parse(f"user.f({word})")[0].pipeline.calls[0].arguments or ()
    return kind.read(argument.value, vocabulary)


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        (COUNT, "1", 1),
        (COUNT, "30.0", 30),
        (COUNT, "1000000", 1_000_000),
        (FRACTION, "0", 0.0),
        (FRACTION, "0.2", 0.2),
        (FRACTION, "1", 1.0),
        (WEIGHT, "0", 0.0),
        (WEIGHT, "7.5", 7.5),
        (DURATION, "90s", 90_000),
        (DURATION, "1.5m", 90_000),
        (DURATION, "48h", 48 * HOUR_MS),
        (DURATION, "0.2h", 12 * 60_000),
        (DURATION, "7d", 7 * DAY_MS),
        (DURATION, "2w", 14 * DAY_MS),
        (DURATION, "3650d", 3_650 * DAY_MS),
        (WINDOW, "24h", DAY_MS),
        (WINDOW, "2d", 2 * DAY_MS),
        (ACTION, "any", "any"),
        (ACTION, '"long_view"', "long_view"),
        (EMBEDDING, "old", "old"),
        (MEDIA_EMBEDDING, "towers", "towers"),
        (TOPICS, "food", ("food",)),
        (TOPICS, '[food, "fine art"]', ("food", "fine art")),
        (COLUMN, "seed_id", "seed_id"),
        (COLUMN, '"seed_id"', "seed_id"),
        (choice("method", ("a", "b")), "b", "b"),
    ],
)
def test_a_word_becomes_a_value(kind: Kind, word: str, value: object) -> None:
    assert read(kind, word) == value
    assert type(read(kind, word)) is type(value)


@pytest.mark.parametrize(
    ("kind", "word", "problem"),
    [
        (COUNT, "1.5", "must be a whole number from 1 to 1,000,000, got 1.5"),
        (COUNT, "many", "must be a whole number, for example 30, got 'many'"),
        (FRACTION, "-0.1", "must be from 0 to 1, got -0.1"),
        (FRACTION, "20%", "must be a number from 0 to 1, for example 0.2; it takes no unit, got 20%"),
        (WEIGHT, "1000001", "must be a weight from 0 to 1,000,000, got 1000001"),
        (DURATION, "7", "is a duration and needs a unit: 7h? (units: s, m, h, d, w)"),
        (DURATION, "7H", "unknown unit 'H'"),
        (DURATION, "3651d", "must be longer than 0 and at most ten years, got 3651d"),
        (DURATION, '"7d"', 'must be a duration, for example 48h, got "7d"'),
        (DURATION, "0.0001s", "must be longer than 0 and at most ten years, got 0.0001s"),
        (WINDOW, "25h", "no window of 25h is published with the bundle"),
        (WINDOW, "25", "is a duration and needs a unit: 25h? (units: s, m, h, d, w)"),
        (ACTION, "report", "unknown action 'report'"),
        (ACTION, "3", "must be an action, got 3"),
        (EMBEDDING, "user.liked()", "must be an embedding, got a query (user...)"),
        (TOPICS, "[food, 3]", "must be a topic, got 3"),
        (TOPICS, "[]", "must name at least one topic"),
        (COLUMN, "[seed_id]", "must be the name of a column, for example seed_id, got a list"),
        (COLUMN, "author_id()", "must be the name of a column, for example seed_id, got a query (author_id...)"),
    ],
)
def test_any_other_word_is_refused(kind: Kind, word: str, problem: str) -> None:
    with pytest.raises(IgqlError) as caught:
        read(kind, word)
    assert caught.value.problem == problem


def test_every_action_that_speaks_for_media_has_a_name() -> None:
    names = {action_name(action) for action in HISTORY_ACTIONS - NEGATIVE_ACTIONS}
    assert {read(ACTION, name) for name in names} == names


def test_a_bundle_without_windows_has_none() -> None:
    with pytest.raises(IgqlError) as caught:
        read(WINDOW, "24h", Vocabulary(windows_ms=()))
    assert caught.value.hint == "windows: none"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (1, "0.001s"),
        (1_500, "1.5s"),
        (90_000, "90s"),
        (60_000, "1m"),
        (90 * 60_000, "90m"),
        (HOUR_MS, "1h"),
        (DAY_MS, "24h"),
        (2 * DAY_MS, "48h"),
        (3 * DAY_MS, "3d"),
        (7 * DAY_MS, "7d"),
        (7 * DAY_MS + HOUR_MS, "169h"),
    ],
)
def test_a_duration_is_said_in_its_largest_whole_unit(milliseconds: int, text: str) -> None:
    assert duration_text(milliseconds) == text
    assert read(DURATION, text) == milliseconds


@given(st.integers(1, 3_650), st.sampled_from(sorted(UNITS_MS)))
def test_what_is_said_of_a_duration_reads_as_the_same(count: int, unit: str) -> None:
    milliseconds = min(count * UNITS_MS[unit], 3_650 * DAY_MS)
    assert read(DURATION, duration_text(milliseconds)) == milliseconds


def test_every_operator_says_what_it_and_its_arguments_are() -> None:
    for found in OPERATORS.values():
        for each in found:
            assert summary(each)
            assert all(parameter.doc and parameter.kind.name for parameter in parameters(each))

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.errors import IgqlError
from retrieval_svc.igql.optimise import optimised
from retrieval_svc.igql.plan import Plan
from retrieval_svc.igql.vocabulary import Vocabulary
from tests.retrieval_svc.igql.programs import Programs
from tests.retrieval_svc.igql.running import PUBLISHED, answer, refusal
from tests.retrieval_svc.worlds import catalogue_of, hand_made, likes, user

VOCABULARY = Vocabulary(topics=("topic-0", "topic-1", "topic-2", "food"))
WORDS = [
    *("user", "a", "b", "mix", "union", "fallback", "let", "liked", "posted_media", "trending", "limit", "filter"),
    *("rank", "diversify_by", "at_least", "topics", "seed_id", "user_id", "window", "0", "1", "0.5", "-3", "48h", "3x"),
    *(
        ".",
        ",",
        "(",
        ")",
        "()",
        "[",
        "]",
        "=",
        "\n",
        " ",
        "\t",
        "#",
        '"',
        '"food"',
        "%",
        "\u2028",
        "٣",
        "a0=user.fresh()\n",
    ),
]
edits = st.lists(
    st.tuples(
        st.sampled_from(["delete", "insert", "swap"]), st.integers(0, 10_000), st.characters() | st.sampled_from(WORDS)
    ),
    min_size=1,
    max_size=4,
)


def plan_or_error(text: str) -> Plan | IgqlError:
    try:
        return optimised(compile_query(text, VOCABULARY))
    except IgqlError as error:
        return error


def survives(text: str) -> None:
    """A program compiles, or is refused with something that a person can read."""
    found = plan_or_error(text)
    if isinstance(found, Plan):
        return
    place, line, caret, *_ = str(found).split("\n")
    assert found.problem in place
    assert "^" in caret
    assert line.removeprefix("  ").rstrip("\r") == text.split("\n")[found.at.line - 1].rstrip("\r")


@settings(max_examples=150)
@given(st.text(max_size=200))
@example("user.fresh(٣d)")
@example("\ufeffuser.trending()")
@example("user.trending()\x00")
def test_any_text_is_a_plan_or_refused(text: str) -> None:
    survives(text)


@settings(max_examples=150)
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_any_words_are_a_plan_or_refused(words: list[str]) -> None:
    survives("".join(words))


def spoiled(text: str, edits: list[tuple[str, int, str]]) -> str:
    for kind, place, letter in edits:
        at = place % max(len(text), 1)
        if kind == "delete":
            text = text[:at] + text[at + 1 :]
        elif kind == "insert":
            text = text[:at] + letter + text[at:]
        else:
            text = text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]
    return text


@settings(max_examples=150)
@given(st.none() | st.integers(0, 3_000), edits)
def test_a_program_with_a_slip_of_the_pen_is_a_plan_or_refused(
    seed: int | None, edits: list[tuple[str, int, str]]
) -> None:
    survives(spoiled(PUBLISHED if seed is None else Programs(seed).program(), edits))


@given(st.integers(0, 3_000))
def test_every_program_of_the_generator_compiles(seed: int) -> None:
    assert compile_query(Programs(seed).program(), VOCABULARY).sources


def chained(count: int) -> str:
    return "a0 = user.fresh()\n" + "\n".join(f"a{i} = a{i - 1}.limit(5)" for i in range(1, count)) + f"\na{count - 1}"


def doubled(count: int) -> str:
    lines = (f"a{i} = union(a{i - 1}, a{i - 1})" for i in range(1, count))
    return "\n".join(["a0 = user.fresh()", *lines, f"a{count - 1}"])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("union(" * 60 + "user" + ")" * 60, "is nested more than 50 deep"),
        ("union(" * 16_000, "the text ends too early"),
        ("union(user.fresh(), " * 45 + "user" + ")" * 45, "sub-queries are nested more than 40 deep"),
        ("user.liked(" + "[" * 50_000, "unexpected '['"),
        ("(" * 100_000, "unexpected '('"),
        ("user.liked(" + "9" * 50_000 + ")", "a number of 50000 digits"),
        ("user.fresh(" + "9" * 50_000 + "h)", "a number of 50000 digits"),
        ("user.liked(0." + "0" * 50_000 + "1)", "a number of 50003 digits"),
        (chained(1_000), "sub-queries are nested more than 40 deep"),
        (doubled(40), "the program is longer than 1,000 calls"),
        ("\n".join(f"a{i} = user.fresh()" for i in range(4_000)), "the program is longer than 1,000 calls"),
        ("union(" + "user.fresh(), " * 300 + "user.fresh())", "the program has more than 255 sources"),
        ("user.fresh()\n" * 7_000, "stands behind the result"),
        ("user.fresh()" + ".limit(9)" * 11_000, "more than 100 steps one after the other"),
        ("a" * 100_001, "has 100,001 characters, at most 100,000 are read"),
        (
            "user.fresh(" + "a, " * 10_000 + ")",
            "argument 'max_age' of fresh: must be a duration, for example 48h, got 'a'",
        ),
    ],
    ids=range(16),
)
def test_what_is_too_large_is_refused(text: str, problem: str) -> None:
    assert refusal(text).problem == problem


@pytest.mark.parametrize("length", [200, 600, 1_900])
def test_a_long_chain_runs_or_is_refused(length: int) -> None:
    text = "user.fresh(max_age=7d)" + ".filter(max_age=6d)" * length
    if isinstance(plan_or_error(text), IgqlError):
        return
    catalogue = catalogue_of(hand_made())
    assert answer(catalogue, text, user()).media == answer(catalogue, "user.fresh(max_age=6d)", user()).media


def test_sub_queries_may_be_nested_as_deep_as_people_write_them() -> None:
    catalogue = catalogue_of(hand_made())
    contexts = user(history=likes(101))
    assert answer(catalogue, chained(30), contexts).media == answer(catalogue, "user.fresh().limit(5)", contexts).media

from __future__ import annotations

import pytest

from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.errors import IgqlError, Position
from retrieval_svc.igql.syntax import MAX_CHARACTERS, Argument, Call, Items, Number, Pipeline, Text, parse
from tests.retrieval_svc.igql.running import PUBLISHED, refusal, word_under_caret


def one(text: str) -> Pipeline:
    (statement,) = parse(text)
    assert statement.name is None
    return statement.pipeline


def argument(text: str) -> Argument:
    (found,) = one(f"user.filter({text})").calls[0].arguments or ()
    return found


def test_a_chain_is_a_head_and_its_calls() -> None:
    found = one("user.liked(3).author()")
    assert found.head == Call("user", None, Position(1, 1, 4))
    assert [(call.name, call.at) for call in found.calls] == [
        ("liked", Position(1, 6, 5)),
        ("author", Position(1, 15, 6)),
    ]
    assert found.calls[1].arguments == ()


def test_definitions_come_before_a_result_without_a_name() -> None:
    assert [(each.name, each.at.line) for each in parse("a = user\nb = a.liked()\nb")] == [
        ("a", 1),
        ("b", 2),
        (None, 3),
    ]


def test_arguments_have_a_name_or_none() -> None:
    assert [(each.name, each.at.column) for each in one("user.f(3, x=4, y=z)").calls[0].arguments or ()] == [
        (None, 8),
        ("x", 11),
        ("y", 16),
    ]


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [("30", 30, ""), ("-0.5", -0.5, ""), ("48h", 48, "h"), ("0.25d", 0.25, "d"), ("50%", 50, "%"), ("1e5", 1, "e5")],
)
def test_numbers_with_and_without_unit(text: str, value: float, unit: str) -> None:
    assert argument(text).value == Number(value, unit, text, Position(1, 13, len(text)))


def test_texts_lists_and_trailing_commas() -> None:
    assert argument('"a, b)"').value == Text("a, b)", Position(1, 13, 7))
    found = argument('topics=[food, "fine art", 3,]').value
    assert isinstance(found, Items)
    assert [type(each) for each in found.values] == [Pipeline, Text, Number]
    assert argument("topics=[]").value == Items((), argument("topics=[]").value.at)
    assert len(one("user.f(1, 2,)").calls[0].arguments or ()) == 2


def test_white_space_and_comments_mean_nothing() -> None:
    spread = "# first\n user # who\n\t. liked\r\n ( 3 , # three\n ) . author ( )#end"
    assert [call.name for call in one(spread).calls] == ["liked", "author"]
    assert one(spread).calls[0].arguments == (Argument(None, Number(3, "", "3", Position(4, 4, 1)), Position(4, 4, 1)),)


def test_a_program_of_nothing_parses_to_nothing() -> None:
    assert parse("") == parse(" \n # only words\n") == ()


def test_a_statement_ends_where_the_next_one_begins() -> None:
    assert [each.name for each in parse("a=user.liked() b=a c=b a.author()")] == ["a", "b", "c", None]


def test_the_published_program_reads() -> None:
    assert [call.name for call in one(PUBLISHED).calls] == [
        "let",
        "liked",
        "account_nn",
        "posted_media",
        "filter",
        "rank",
        "diversify_by",
    ]


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("user.trendng()", 1, 6, "trendng"),
        ("user.\ttrendng()", 1, 7, "trendng"),
        ("\t\tuser.trending()\t.lmit(3)", 1, 20, "lmit"),
        ("a = user.trending()\n\n  b = user.foo()\na", 3, 12, "foo"),
        ("# one\n# two\nuser.liked(30x) # three", 3, 12, "30x"),
        ("user.trending() # fine\nuser.trending()", 2, 1, "user"),
        ("a = user.trending()\r\nb = user.foo()\r\na", 2, 10, "foo"),
        ("user.liked(²)", 1, 12, "²"),
        ("user.trending()..limit(3)", 1, 17, "."),
        ("user.liked([[1]])", 1, 13, "["),
        ("user.liked(3 4)", 1, 14, "4"),
        ('user.trending().filter(topics="food)', 1, 31, '"'),
        ("a = user.trending()\x0cb = user.foo()\na", 1, 30, "foo"),
        ('a = user.trending().filter(topics="x\u2028y").foo()\na', 1, 42, "foo"),
    ],
)
def test_the_caret_stands_under_the_wrong_word(text: str, line: int, column: int, word: str) -> None:
    error = refusal(text)
    assert (error.at.line, error.at.column) == (line, column)
    assert word_under_caret(error) == word
    assert str(error).startswith(f"query:{line}:{column}: ")


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("user.trending(", 1, 15),
        ("user.", 1, 6),
        ("user.trending", 1, 14),
        ("a = ", 1, 5),
        ("user.liked(3,\n", 2, 1),
        ("user.liked(\n  max_num_to_retrieve=", 2, 23),
        ("user.liked(\t", 1, 13),
        ("user.liked( # five", 1, 19),
    ],
)
def test_a_text_that_ends_too_early_is_shown_at_its_end(text: str, line: int, column: int) -> None:
    error = refusal(text)
    assert (error.problem, error.at.line, error.at.column) == ("the text ends too early", line, column)
    _, shown, caret, *_ = str(error).split("\n")
    assert shown == "  " + text.rsplit("\n", maxsplit=1)[-1]
    assert caret.index("^") == column + 1


def test_an_error_says_what_was_expected_instead() -> None:
    assert refusal("user.trending").hint == "expected '('"
    assert refusal("user.trending()..limit(3)").hint == "expected a name"
    assert refusal("user.liked(3 4)").hint == "expected ')' or ','"
    assert refusal("user.liked(;)").problem == "unexpected character ';'"


def test_an_error_names_the_file_and_shows_the_whole_line() -> None:
    with pytest.raises(IgqlError) as caught:
        compile_query("x = user.trending()\nx.limt(3)", name="explore.igql")
    assert str(caught.value).split("\n") == [
        "explore.igql:2:3: unknown operator 'limt'",
        "  x.limt(3)",
        "    ^^^^",
        "did you mean 'limit'?",
    ]


def test_an_empty_list_is_shown_where_it_stands() -> None:
    error = refusal("user.trending()\n.filter(topics=[])")
    assert error.problem == "argument 'topics' of filter: must name at least one topic"
    assert (error.at.line, error.at.column) == (2, 16)


def test_only_digits_of_ascii_are_digits() -> None:
    assert refusal("user.fresh(٣d)").problem == "unexpected character '٣'"
    assert refusal("user.liked(٣).posted_media()").problem == "unexpected character '٣'"


def test_a_text_has_an_end() -> None:
    error = refusal("user.trending() " + "#" * MAX_CHARACTERS)
    assert error.problem == "has 100,016 characters, at most 100,000 are read"
    assert compile_query("user.trending() " + "#" * (MAX_CHARACTERS - 16)).sources[0].path == "trending"

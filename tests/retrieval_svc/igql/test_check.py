from __future__ import annotations

import pytest

from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.vocabulary import Vocabulary
from tests.retrieval_svc.igql.running import refusal, word_under_caret

OPERATORS = (
    "account_nn, author, co_occurring, diversify_by, engaged_media, filter, followed, fresh, interacted, let, liked, limit, "
    "media_nn, posted_media, rank, sample, saved, segment_trending, topic_trending, trending"
)
LAST = "the expression without a name is the last one of a program"
Refused = tuple[str, str, str, str]  # the program, the word under the caret, the problem, the hint

STAGES: list[Refused] = [
    (
        "user.posted_media()",
        "posted_media",
        "'posted_media' takes accounts, but 'user' gives the user",
        "operators that take the user: followed, fresh, interacted, let, liked, media_nn, saved, segment_trending, "
        "topic_trending, trending",
    ),
    (
        "user.trending().limit(3).account_nn()",
        "account_nn",
        "'account_nn' takes accounts, but 'limit' gives media",
        "operators that take media: diversify_by, filter, limit, rank, sample",
    ),
    (
        "user.followed().filter(max_age=3d).posted_media()",
        "filter",
        "'filter' takes media, but 'followed' gives accounts",
        "operators that take accounts: account_nn, engaged_media, followed, let, limit, posted_media, rank, sample",
    ),
    (
        "user.liked().trending()",
        "trending",
        "'trending' takes the user, but 'liked' gives actions (media that the user acted on)",
        "operators that take actions (media that the user acted on): author, co_occurring, let, limit, media_nn, sample",
    ),
    (
        "user.trending().let(x=media_id)",
        "media_id",
        "media have no column 'media_id'",
        "there are no columns here",
    ),
]

NAMES: list[Refused] = [
    ("user.trendng()", "trendng", "unknown operator 'trendng'", "did you mean 'trending'?"),
    ("user.zzz()", "zzz", "unknown operator 'zzz'", f"operators: {OPERATORS}"),
    ("user.trending().mix(a=1)", "mix", "'mix' stands at the beginning", "mix(a=0.7, b=0.3)"),
    ("user.trending().union(a)", "union", "'union' stands at the beginning", "union(a, b, ...)"),
    ("liked().posted_media()", "liked", "'liked' needs something before it", "user.liked(...)?"),
    ("unoin(user.fresh(), user.fresh())", "unoin", "unknown combination 'unoin'", "did you mean 'union'?"),
    ("usr.trending()", "usr", "unknown sub-query 'usr'", "did you mean 'user'?"),
    ("fresh = user.fresh()\nfrsh.limit(3)", "frsh", "unknown sub-query 'frsh'", "did you mean 'fresh'?"),
    ("a = user.fresh()\nzzz.limit(3)", "zzz", "unknown sub-query 'zzz'", "known here: a, user"),
    ("a = user.fresh()\nmix(a=1, aa=1)", "aa", "unknown sub-query 'aa'", "did you mean 'a'?"),
    (
        "user.liked(max=3).posted_media()",
        "max",
        "liked has no argument 'max'",
        "arguments: max_num_to_retrieve, window",
    ),
    ("user.liked(windw=3d)", "windw", "liked has no argument 'windw'", "did you mean 'window'?"),
    (
        "user.liked().account_nn(embedding_config=ig3vec)",
        "ig3vec",
        "argument 'embedding_config' of account_nn: unknown embedding 'ig3vec'",
        "embeddings: default",
    ),
    (
        "user.media_nn(model=defalt)",
        "defalt",
        "argument 'model' of media_nn: unknown model 'defalt'",
        "did you mean 'default'?",
    ),
    (
        "user.fresh().rank(qualty)",
        "qualty",
        "argument 'ranking_model' of rank: unknown ranking model 'qualty'",
        "did you mean 'quality'?",
    ),
    (
        "user.followed().rank(quality).posted_media()",
        "quality",
        "argument 'ranking_model' of rank: unknown ranking model 'quality'",
        "ranking models: default, popularity",
    ),
    (
        'user.fresh().filter(topics=[food, "atr"])',
        '"atr"',
        "argument 'topics' of filter: unknown topic 'atr'",
        "did you mean 'art'?",
    ),
    (
        "user.trending(window=36h)",
        "36h",
        "argument 'window' of trending: no window of 36h is published with the bundle",
        "windows: 24h, 48h",
    ),
    (
        "user.interacted(lke)",
        "lke",
        "argument 'action' of interacted: unknown action 'lke'",
        "did you mean 'like'?",
    ),
    (
        "user.interacted(hide)",
        "hide",
        "argument 'action' of interacted: unknown action 'hide'",
        "actions: any, click, comment, follow, like, long_view, save, share",
    ),
    (
        "user.fresh().diversify_by(author)",
        "diversify_by",
        "unknown column 'author'",
        "did you mean 'author_id'?; let(NAME=user_id) on the user names the seed account",
    ),
    (
        "user.followed().let(x=acount_id).posted_media()",
        "acount_id",
        "accounts have no column 'acount_id'",
        "did you mean 'account_id'?",
    ),
    (
        "user.fresh().diversify_by(author_id, method=robin)",
        "robin",
        "argument 'method' of diversify_by: unknown method 'robin'",
        "did you mean 'round_robin'?",
    ),
]

COUNTS: list[Refused] = [
    ("user.saved(3, 4d, 5)", "5", "too many arguments: saved takes at most 2: max_num_to_retrieve, window", ""),
    ("user.liked().author(3)", "3", "too many arguments: author takes none", ""),
    (
        "user.liked(window=3d, 5)",
        "5",
        "an argument without a name stands behind one with a name",
        "",
    ),
    (
        "user.liked(3, max_num_to_retrieve=4)",
        "max_num_to_retrieve",
        "argument 'max_num_to_retrieve' is given twice",
        "",
    ),
    ("user.fresh().sample()", "sample", "sample needs the argument 'count': how many", ""),
    ("user.fresh().sample(seed=3)", "sample", "sample needs the argument 'count': how many", ""),
    ("user.fresh().diversify_by()", "diversify_by", "diversify_by needs the argument 'key': column to spread over", ""),
    (
        "user.fresh().filter()",
        "filter",
        "filter has no condition",
        "conditions: non_recommendable_model_threshold, max_age, min_duration, max_duration, topics, not_topics",
    ),
    ("user.let().liked().posted_media()", "let", "let names no column", "let(NAME=COLUMN)"),
    ("user.let(user_id).fresh()", "user_id", "let takes NAME=COLUMN", "for example let(seed_id=user_id)"),
    ("user.let(x=3).fresh()", "3", "must be the name of a column, got 3", "let(NAME=COLUMN)"),
    (
        "user.let(topic=user_id).fresh()",
        "topic",
        "'topic' is a column of every media item",
        "choose another name",
    ),
]

RESULTS: list[Refused] = [
    ("a = user.fresh()", "a", "has no result", "end the program with what it returns, for example: a"),
    ("user.fresh()\nuser.trending()", "user", "stands behind the result", LAST),
    ("user.fresh()\na = user.fresh()", "a", "stands behind the result", LAST),
    (
        "user.followed()",
        "user",
        "the result must be media, but this gives accounts",
        "operators that find media: co_occurring, engaged_media, fresh, media_nn, posted_media, segment_trending, "
        "topic_trending, trending",
    ),
    ("a = user.fresh()\na = user.fresh()\na", "a", "'a' is defined twice", ""),
    ("a = b.limit(3)\nb = user.fresh()\na", "b", "'b' is defined further down", "define it before it is used"),
    ("a = a.limit(3)\na", "a", "'a' is defined further down", "define it before it is used"),
    ("user = user.fresh()\nuser", "user", "'user' is a word of the language", "choose another name"),
    ("mix = user.fresh()\nmix", "mix", "'mix' is a word of the language", "choose another name"),
]

COMBINATIONS: list[Refused] = [
    ("union(user.fresh())", "union", "union takes at least two queries", "union(a, b, ...)"),
    ("union()", "union", "union takes at least two queries", "union(a, b, ...)"),
    ("union", "union", "union takes at least two queries", "union(a, b, ...)"),
    ("fallback(user.fresh(), at_least=3)", "fallback", "fallback takes at least two queries", "fallback(a, b, ...)"),
    ("union(user.fresh(), 3)", "3", "union takes queries", "union(a, b, ...)"),
    ("union(user.fresh(), user.fresh(), at_least=3)", "at_least", "union takes queries", "union(a, b, ...)"),
    (
        "fallback(user.fresh(), user.fresh(), at_least=0)",
        "0",
        "argument 'at_least' of fallback: must be a whole number from 1 to 1,000,000, got 0",
        "",
    ),
    (
        "fallback(user.fresh(), user.fresh(), at_least=2, at_least=3)",
        "at_least",
        "argument 'at_least' is given twice",
        "",
    ),
    (
        "union(user.fresh(), user.followed())",
        "user",
        "union takes rows of one kind, but this gives accounts",
        "the first gives media",
    ),
    (
        "union(user, user.liked()).posted_media()",
        "user",
        "union takes rows of one kind, but this gives the user",
        "the first gives the user",
    ),
    (
        "a = user.fresh()\nmix(a=0)",
        "mix",
        "mix has no part that weighs anything",
        "mix(NAME=WEIGHT, ...), a weight above 0",
    ),
    ("mix()", "mix", "mix has no part that weighs anything", "mix(NAME=WEIGHT, ...), a weight above 0"),
    ("a = user.fresh()\nmix(a=-1)", "-1", "weight of 'a': must be a weight from 0 to 1,000,000, got -1", ""),
    (
        "a = user.fresh()\nmix(a=30%)",
        "30%",
        "weight of 'a': must be a weight, for example 0.3; it takes no unit, got 30%",
        "",
    ),
    ("a = user.fresh()\nmix(a)", "a", "mix takes NAME=WEIGHT", "for example mix(similar=0.7, trending=0.3)"),
    ("a = user.fresh()\nmix(a=1, a=2)", "a", "'a' is mixed in twice", "add the weights"),
    ("a = user.followed()\nmix(a=1)", "a", "mix takes media, but 'a' gives accounts", ""),
    ("a = user.liked()\nmix(a=0)", "a", "mix takes media, but 'a' gives actions (media that the user acted on)", ""),
]

ENDLESS: list[Refused] = [
    (
        "user.trending().rank()",
        "rank",
        "'rank' needs the whole list, and that of 'trending' never ends",
        "put limit(1000) before it: .limit(1000).rank(...)",
    ),
    (
        "t = user.trending()\nt.filter(max_age=3d).sample(5)",
        "sample",
        "'sample' needs the whole list, and that of 'trending' never ends",
        "put limit(1000) before it: .limit(1000).sample(...)",
    ),
    (
        "fallback(user.fresh(), user.trending()).diversify_by(topic)",
        "diversify_by",
        "'diversify_by' needs the whole list, and that of 'trending' never ends",
        "put limit(1000) before it: .limit(1000).diversify_by(...)",
    ),
]

UNITS: list[Refused] = [
    (
        "user.fresh(48)",
        "48",
        "argument 'max_age' of fresh: is a duration and needs a unit: 48h? (units: s, m, h, d, w)",
        "",
    ),
    ("user.fresh(48x)", "48x", "argument 'max_age' of fresh: unknown unit 'x'", "units: d, h, m, s, w"),
    ("user.fresh(48hh)", "48hh", "argument 'max_age' of fresh: unknown unit 'hh'", "did you mean 'h'?"),
    ("user.fresh(0h)", "0h", "argument 'max_age' of fresh: must be longer than 0 and at most ten years, got 0h", ""),
    ("user.fresh(-3h)", "-3h", "argument 'max_age' of fresh: must be longer than 0 and at most ten years, got -3h", ""),
    (
        "user.fresh(600w)",
        "600w",
        "argument 'max_age' of fresh: must be longer than 0 and at most ten years, got 600w",
        "",
    ),
    ("user.fresh(soon)", "soon", "argument 'max_age' of fresh: must be a duration, for example 48h, got 'soon'", ""),
    (
        "user.fresh().filter(0.2h)",
        "0.2h",
        "argument 'non_recommendable_model_threshold' of filter: must be a number from 0 to 1, for example 0.2; "
        "it takes no unit, got 0.2h",
        "",
    ),
    (
        "user.fresh().filter(2)",
        "2",
        "argument 'non_recommendable_model_threshold' of filter: must be from 0 to 1, got 2",
        "",
    ),
    (
        "user.fresh().limit(30h)",
        "30h",
        "argument 'count' of limit: must be a whole number, for example 30; it takes no unit, got 30h",
        "",
    ),
    *(
        (
            f"user.fresh().limit({count})",
            count,
            f"argument 'count' of limit: must be a whole number from 1 to 1,000,000, got {count}",
            "",
        )
        for count in ("0", "-3", "1.5", "1000001")
    ),
    (
        "user.fresh().limit(user.fresh())",
        "user",
        "argument 'count' of limit: must be a whole number, for example 30, got a query (user...)",
        "",
    ),
    (
        "user.fresh().limit([3])",
        "3",
        "argument 'count' of limit: must be a whole number, for example 30, got a list",
        "",
    ),
    (
        'user.fresh().limit("3")',
        '"3"',
        "argument 'count' of limit: must be a whole number, for example 30, got \"3\"",
        "",
    ),
]


@pytest.mark.parametrize(
    ("text", "word", "problem", "hint"),
    [*STAGES, *NAMES, *COUNTS, *RESULTS, *COMBINATIONS, *ENDLESS, *UNITS],
    ids=lambda value: value.replace("\n", "; ") if isinstance(value, str) else None,
)
def test_a_wrong_program_is_refused_at_the_word_with_a_way_out(text: str, word: str, problem: str, hint: str) -> None:
    error = refusal(text, Vocabulary(windows_ms=(86_400_000, 172_800_000), topics=("food", "art")))
    assert (error.problem, error.hint) == (problem, hint)
    assert word_under_caret(error) == word


@pytest.mark.parametrize("text", ["", " \n# nothing\n"])
def test_an_empty_program_has_no_result(text: str) -> None:
    error = refusal(text)
    assert (error.problem, error.hint) == ("has no result", "see `explore igql ops`")


def test_what_cannot_stand_in_a_mix_is_not_suggested() -> None:
    assert "did you mean 'user'" not in refusal("a = user.fresh()\nmix(a=1, user=1)").hint


def test_what_nothing_refers_to_is_checked_all_the_same() -> None:
    error = refusal("a = user.fresh()\nb = a.foo()\na")
    assert (error.problem, error.at.line) == ("unknown operator 'foo'", 2)


@pytest.mark.parametrize(
    "text",
    [
        "user.fresh(0.2h)",
        "user.fresh(1w, 5)",
        "user.fresh(max_num_to_retrieve=5, max_age=1w)",
        "user.trending(window=1d)",
        "user.trending().limit(1000).rank()",
        "user.trending().limit(9).diversify_by(author_id)",
        "user.trending().filter(max_age=3d)",
        'user.fresh().filter(topics=food, not_topics=["art",])',
        "a = user.trending()\nmix(a=1).rank()",
        "liked = user.fresh()\nliked",
        "u = user\nu.trending()",
        "u = user.let(x=user_id)\nu.fresh().diversify_by(x)",
        'user.fresh().rank("newest")',
    ],
)
def test_a_right_program_compiles(text: str) -> None:
    compile_query(text, Vocabulary(topics=("food", "art")))


def test_without_a_bundle_every_topic_passes() -> None:
    compile_query("user.fresh().filter(topics=[whatever])", Vocabulary(topics=None))
    assert refusal("user.fresh().filter(topics=x)", Vocabulary(topics=())).hint == "there are no topics"

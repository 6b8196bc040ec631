from __future__ import annotations

import pytest

from features.context import concatenate
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.operators.people import Author
from retrieval_svc.igql.plan import Mix, Source
from tests.retrieval_svc.igql.running import PUBLISHED, answer, person, refusal
from tests.retrieval_svc.worlds import catalogue_of, likes, random_items


def sources(text: str) -> list[tuple[str, str]]:
    return [(source.name, source.path) for source in compile_query(text).sources]


def operators(text: str) -> list[str]:
    return [step.operator.name for step in compile_query(text).steps()]


def test_the_rules_of_the_service_stand_behind_everything_that_finds_media() -> None:
    assert operators(PUBLISHED) == [
        "liked",
        "let",
        "author",
        "account_nn",
        "posted_media",
        "eligible",
        "filter",
        "rank",
        "diversify_by",
    ]
    assert operators("union(user.fresh(), user.trending())").count("eligible") == 2


def test_actions_stand_for_their_authors_where_accounts_are_wanted() -> None:
    for operator in (
        "account_nn().posted_media",
        "posted_media",
        "engaged_media",
        "followed().posted_media",
        "rank().posted_media",
    ):
        implied, spelt = (compile_query(f"user.liked(){author}.{operator}()") for author in ("", ".author()"))
        assert [step.operator for step in implied.steps()] == [step.operator for step in spelt.steps()]
    assert Author() not in [step.operator for step in compile_query("user.liked().media_nn()").steps()]
    assert operators("union(user.liked(), user.followed()).posted_media()")[:3] == ["liked", "author", "followed"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("user.trending()", [("main", "trending")]),
        ("a = user.trending()\na.limit(5)", [("main", "trending > limit")]),
        (PUBLISHED, [("main", "liked > author > account_nn > posted_media > filter > rank > diversify_by")]),
        (
            "a = user.trending()\nb = user.fresh()\nunion(a, b.limit(3), user.media_nn())",
            [("a", "trending > union"), ("main", "fresh > limit > union"), ("main", "media_nn > union")],
        ),
        (
            "a = union(user.fresh(), user.media_nn())\nb = user.trending()\nmix(a=1, b=2).limit(9)",
            [
                ("a", "fresh > union > mix > limit"),
                ("a", "media_nn > union > mix > limit"),
                ("b", "trending > mix > limit"),
            ],
        ),
        (
            "a = user.fresh()\nb = user.trending()\nc = user.media_nn()\ninner = mix(a=1, b=1)\nmix(inner=1, c=1)",
            [("a", "fresh > mix > mix"), ("b", "trending > mix > mix"), ("c", "media_nn > mix")],
        ),
        (
            "union(user.liked().author(), user.followed().account_nn()).posted_media()",
            [("main", "union(liked > author | followed > account_nn) > posted_media")],
        ),
        (
            "a = user.fresh()\nb = user.trending()\nfallback(a, b, at_least=3)",
            [("a", "fresh > fallback"), ("b", "trending > fallback")],
        ),
    ],
)
def test_every_source_has_the_name_of_its_sub_query_and_its_path(text: str, expected: list[tuple[str, str]]) -> None:
    assert sources(text) == expected


def test_a_part_that_weighs_nothing_keeps_its_name_and_is_not_run() -> None:
    plan = compile_query("a = user.fresh()\nb = user.trending()\nmix(a=0, b=0.3)")
    assert plan.root.operator == Mix((0.3,), None)
    assert "fresh" not in [step.operator.name for step in plan.steps()]
    assert plan.sources == (Source("a", ""), Source("b", "trending > mix"))


def test_what_nothing_refers_to_is_named() -> None:
    assert compile_query("a = user.fresh()\nb = a.limit(3)\nc = user.trending()\nb").unused == ("c",)
    assert compile_query("a = user.fresh()\nb = a.limit(3)\nuser.trending()").unused == ("b",)
    assert compile_query("a = user.fresh()\na").unused == ()


def test_a_limit_behind_a_mix_says_how_long_it_is() -> None:
    mixed = "a = user.fresh()\nb = user.trending()\nmix(a=1, b=1)"
    assert compile_query(mixed).root.operator == Mix((1, 1), None)
    assert compile_query(f"{mixed}.limit(7)").root.inputs[0].operator == Mix((1, 1), 7)
    assert compile_query(f"{mixed}.limit(7).limit(3)").root.inputs[0].inputs[0].operator == Mix((1, 1), 7)
    assert compile_query(f"{mixed}.rank().limit(7)").root.inputs[0].inputs[0].operator == Mix((1, 1), None)


def test_let_on_the_user_is_the_account_that_a_path_starts_from(catalogue: Catalogue) -> None:
    contexts = person(history=likes(101, 300), followed=[20])
    found = answer(catalogue, "user.let(s=user_id).liked().account_nn().posted_media(2)", contexts)
    assert found.items.account_id_U[found.flow.bound["s"]].tolist() == found.seeds
    assert (found.media, found.seeds) == ([401, 202, 201], [30, 10, 10])
    found = answer(catalogue, "user.let(s=user_id).followed().posted_media()", contexts)
    assert found.items.account_id_U[found.flow.bound["s"]].tolist() == [20, 20, 20]


def test_let_keeps_what_a_row_was_where_it_was_named(catalogue: Catalogue) -> None:
    contexts = person(history=likes(101, 300))
    text = "user.liked().let(m=media_id, a=account_id).account_nn().let(near=account_id).posted_media(2)"
    found = answer(catalogue, text, contexts)
    bound = found.flow.bound
    assert found.items.media_id_M[bound["m"]].tolist() == [300, 101, 101]
    assert found.items.account_id_U[bound["a"]].tolist() == [30, 10, 10]
    assert found.items.account_id_U[bound["near"]].tolist() == [40, 20, 20]


def test_a_name_given_again_is_the_later_column(catalogue: Catalogue) -> None:
    text = "user.let(s=user_id).followed().let(s=account_id).account_nn().let(s=account_id).posted_media(1)"
    found = answer(catalogue, text, person(followed=[10]))
    assert found.items.account_id_U[found.flow.bound["s"]].tolist() == [20]


def test_a_combination_knows_the_columns_that_all_its_parts_name() -> None:
    named, other = "user.let(s=user_id, t=user_id).fresh()", "user.let(s=user_id).media_nn()"
    compile_query(f"union({named}, {other}).diversify_by(s)")
    assert refusal(f"union({named}, {other}).diversify_by(t)").problem == "unknown column 't'"


def test_a_named_column_survives_a_fallback_whoever_is_in_the_batch(catalogue: Catalogue) -> None:
    parts = "user.let(s=user_id).interacted().posted_media(), user.let(s=user_id).followed().posted_media()"
    text = f"fallback({parts}).diversify_by(s, method=max_per, max_per=1)"
    ann, bob = person("ann", likes(100, 200)), person("bob", followed=[40])
    assert answer(catalogue, text, concatenate([ann, bob])).of(0) == [202, 102]
    assert answer(catalogue, text, ann).of(0) == [202, 102]


def test_a_named_column_survives_a_union_that_is_not_read_to_its_end() -> None:
    large = catalogue_of(random_items(3))
    tail = "user.let(s=user_id).followed().posted_media()"
    text = f"union(user.let(s=user_id).trending(), {tail}).limit(9).diversify_by(s, max_per, 2)"
    expected = answer(large, "user.trending()", person(followed=[10])).media[:2]
    assert answer(large, text, person(followed=[10])).media == expected  # none of them has a seed account

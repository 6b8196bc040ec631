from __future__ import annotations

from pathlib import Path

import pytest

from retrieval_svc.catalogue import Catalogue
from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.files import DEFAULT_QUERY
from retrieval_svc.igql.operators.shaping import Filter, Limit
from retrieval_svc.igql.optimise import optimised
from retrieval_svc.igql.plan import Plan, Step
from tests.retrieval_svc.igql.running import PUBLISHED, execution_of, person
from tests.retrieval_svc.worlds import likes

FRESH = "user.fresh(max_age=7d)"


def shape(step: Step) -> str:
    """A step and what it reads, limits with their counts: the rules of the service left out."""
    name = f"limit {step.operator.count}" if isinstance(step.operator, Limit) else step.operator.name
    before = [shape(each) for each in step.inputs]
    if name == "eligible":
        return before[0]
    return f"({', '.join(before)}).{name}" if len(before) > 1 else ".".join([*before, name])


def rewritten(text: str) -> Plan:
    return optimised(compile_query(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{FRESH}.rank().filter(max_age=3d)", "fresh.filter.rank"),
        (f"{FRESH}.rank().rank(newest).filter(max_age=3d)", "fresh.filter.rank.rank"),
        (f"{FRESH}.rank().filter(max_age=3d).filter(topics=food)", "fresh.filter.filter.rank"),
        (f"{FRESH}.rank().filter(max_age=3d).rank(newest).filter(topics=food)", "fresh.filter.filter.rank.rank"),
        (f"{FRESH}.rank().filter(max_age=3d).limit(5)", "fresh.filter.rank.limit 5"),
        (f"{FRESH}.rank().limit(5).filter(max_age=3d)", "fresh.rank.limit 5.filter"),
        (f"{FRESH}.limit(5).rank().filter(max_age=3d)", "fresh.limit 5.filter.rank"),
        (f"{FRESH}.rank().sample(5).filter(max_age=3d)", "fresh.rank.sample.filter"),
        (f"{FRESH}.diversify_by(topic).filter(max_age=3d)", "fresh.diversify_by.filter"),
        (f"{FRESH}.diversify_by(topic).rank().filter(max_age=3d)", "fresh.diversify_by.filter.rank"),
        (f"union({FRESH}, user.trending()).filter(max_age=3d)", "(fresh.filter, trending.filter).union"),
        (
            f"union({FRESH}.rank(), user.trending().limit(3)).limit(9).rank().filter(max_age=3d)",
            "(fresh.rank, trending.limit 3).union.limit 9.filter.rank",
        ),
        (
            f"union(union({FRESH}.rank(), user.media_nn()), user.trending()).filter(max_age=3d)",
            "((fresh.filter.rank, media_nn.filter).union, trending.filter).union",
        ),
        (f"fallback({FRESH}, user.trending()).filter(max_age=3d)", "(fresh, trending).fallback.filter"),
        (f"a = {FRESH}\nb = user.trending()\nmix(a=1, b=1).filter(max_age=3d)", "(fresh, trending).mix.filter"),
        (
            f"a = {FRESH}\nb = user.trending()\nmix(a=1, b=1).rank().filter(max_age=3d)",
            "(fresh, trending).mix.filter.rank",
        ),
        (f"{FRESH}.limit(9).limit(4)", "fresh.limit 4"),
        (f"{FRESH}.limit(4).limit(9)", "fresh.limit 4"),
        (f"{FRESH}.limit(4).limit(9).limit(2).limit(7)", "fresh.limit 2"),
        (f"{FRESH}.limit(4).rank().limit(2)", "fresh.limit 4.rank.limit 2"),
        (f"{FRESH}.limit(4).filter(max_age=3d).limit(2)", "fresh.limit 4.filter.limit 2"),
        ("user.followed().limit(5).limit(3).posted_media()", "followed.limit 3.posted_media"),
        ("user.let(s=user_id).fresh().rank().filter(max_age=3d)", "fresh.let.filter.rank"),
    ],
)
def test_filters_move_down_and_limits_merge(text: str, expected: str) -> None:
    plan = rewritten(text)
    assert shape(plan.root) == expected
    assert plan.sources == compile_query(text).sources


def test_every_part_of_a_union_gets_the_same_filter_and_keeps_its_source() -> None:
    plan = rewritten(f"a = {FRESH}\nb = user.trending()\nunion(a, b).filter(max_age=3d)")
    filters = [step for step in plan.steps() if isinstance(step.operator, Filter)]
    assert len(filters) == 2
    assert filters[0].operator == filters[1].operator
    assert [step.source for step in plan.steps() if step.starts_media] == [0, 1]


@pytest.mark.parametrize("text", [PUBLISHED, DEFAULT_QUERY.read_text(encoding="utf-8"), FRESH])
def test_a_rewritten_plan_is_not_rewritten_again(text: str) -> None:
    once = rewritten(text)
    again = optimised(once)
    assert shape(again.root) == shape(once.root)
    assert (again.sources, again.unused) == (once.sources, once.unused)


SHARED = """
seeds = user.liked(5).author().account_nn()
a = seeds.posted_media(1)
b = seeds.engaged_media(2)
c = union(user.liked(5).account_nn().followed(), seeds).posted_media(3)
mix(a=1, b=1, c=2)
"""


@pytest.mark.parametrize("plan", [compile_query(SHARED), rewritten(SHARED)], ids=["as written", "rewritten"])
def test_equal_steps_are_one_object_that_runs_once(catalogue: Catalogue, plan: Plan) -> None:
    names = [step.operator.name for step in plan.steps()]
    for name in ("liked", "author", "account_nn", "followed"):
        assert names.count(name) == 1
    execution = execution_of(catalogue, plan, person(history=likes(101, 300)), count=4)
    execution.answer()
    calls = {step.operator.name: execution.traces[step.number].calls for step in plan.steps()}
    assert {calls[name] for name in ("liked", "author", "account_nn", "followed")} == {1}


def test_what_a_filter_drops_is_never_ranked(catalogue: Catalogue) -> None:
    plan = rewritten(f"{FRESH}.rank().filter(topics=food)")
    execution = execution_of(catalogue, plan, person())
    execution.answer()
    rows = {step.operator.name: execution.traces[step.number].rows_in for step in plan.steps()}
    assert (rows["filter"], rows["rank"]) == (11, 6)


def test_a_long_list_is_read_as_far_as_somebody_asks(catalogue: Catalogue) -> None:
    plan = rewritten("user.trending().limit(2)")
    execution = execution_of(catalogue, plan, person())
    execution.answer()
    rows = {step.operator.name: execution.traces[step.number].rows_out for step in plan.steps()}
    assert rows["limit"] == 2
    assert rows["trending"] <= 12


def test_the_default_query_starts_with_a_step_per_thing_that_people_do() -> None:
    plan = rewritten(Path(DEFAULT_QUERY).read_text(encoding="utf-8"))
    names = [step.operator.name for step in plan.steps()]
    assert len(plan.unused) == 0
    assert names.count("followed") == 3  # 50 for engaged, 30 for friends, and the second hop
    assert names.count("interacted") == 2  # 50 and 30

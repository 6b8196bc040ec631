from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from features.context import UserContexts, concatenate
from features.relations import Relation
from retrieval_svc.audience import Audience
from retrieval_svc.config import SourcingConfig
from retrieval_svc.flow import Flow
from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.execute import Execution
from retrieval_svc.igql.files import DEFAULT_QUERY
from retrieval_svc.igql.operator import Run
from retrieval_svc.igql.optimise import optimised
from retrieval_svc.igql.plan import Plan
from serving.ragged import Int64
from tests.retrieval_svc.igql.programs import Programs
from tests.retrieval_svc.worlds import NOBODY_SAW, catalogue_of, likes, random_items, random_users, user

pytestmark = pytest.mark.long

PUBLISHED = (
    "user.let(seed_id=user_id).liked(max_num_to_retrieve=30).account_nn(embedding_config=default)"
    ".posted_media(max_media_per_account=10).filter(non_recommendable_model_threshold=0.2)"
    ".rank(ranking_model=default).diversify_by(seed_id, method=round_robin)"
)
CATALOGUE = catalogue_of(random_items(7, media=300, accounts=40))
RULES = SourcingConfig().rules()
COLUMNS = ("user_P", "row_P", "seed_row_P", "score_P", "source_P")


def answer(
    plan: Plan, contexts: UserContexts, seen_B: Sequence[Int64], count_B: Int64, lazy: bool = True
) -> dict[str, list[float]]:
    """The answer's columns as lists."""
    found = run(plan, contexts, seen_B, count_B, lazy)
    return {name: getattr(found, name).tolist() for name in COLUMNS}


def run(plan: Plan, contexts: UserContexts, seen_B: Sequence[Int64], count_B: Int64, lazy: bool = True) -> Flow:
    audience = Audience.of(contexts, seen_B, count_B, CATALOGUE)
    return Execution(plan, Run(audience, RULES, len(plan.sources)), lazy).answer()


@pytest.mark.parametrize("block", range(10))
def test_a_thousand_programs_answer_the_same_whether_optimised_or_not(block: int) -> None:
    programs, rows = Programs(block), 0
    for number in range(100):
        text = programs.program()
        plan = compile_query(text, CATALOGUE.vocabulary)
        contexts, seen_B = random_users(CATALOGUE.items, 1000 * block + number, 3)
        count_B = np.random.default_rng(number).integers(0, 60, 3)
        quick = answer(optimised(plan), contexts, seen_B, count_B)
        assert quick == answer(plan, contexts, seen_B, count_B, lazy=False), text
        rows += len(quick["row_P"])
    assert rows > 1_000  # the programs find something


def test_a_user_never_depends_on_who_else_is_in_the_batch() -> None:
    programs = Programs(99)
    for number in range(60):
        plan = optimised(compile_query(programs.program(), CATALOGUE.vocabulary))
        parts = [random_users(CATALOGUE.items, 10 * number + b, 1) for b in range(3)]
        count_B = np.array([40, 7, 25])
        together = run(plan, concatenate([context for context, _ in parts]), [seen for _, (seen,) in parts], count_B)
        for b, (contexts, seen_B) in enumerate(parts):
            alone = answer(plan, contexts, seen_B, count_B[b : b + 1])
            mine = together.pick(np.flatnonzero(together.user_P == b))
            assert {name: getattr(mine, name).tolist() for name in COLUMNS[1:]} == {
                name: alone[name] for name in COLUMNS[1:]
            }


def test_nothing_forbidden_gets_through_any_program() -> None:
    programs, items = Programs(5), CATALOGUE.items
    for number in range(100):
        plan = optimised(compile_query(programs.program(), CATALOGUE.vocabulary))
        contexts, seen_B = random_users(items, number, 2)
        found = run(plan, contexts, seen_B, np.array([50, 50]))
        author_id_P = items.account_id_U[items.author_row_M[found.row_P]]
        for b in range(2):
            mine = found.user_P == b
            start, end = contexts.relation_offsets[b : b + 2].tolist()
            refused = contexts.relation_kind_R[start:end] != Relation.FOLLOWED
            assert not set(author_id_P[mine]) & set(contexts.relation_account_id_R[start:end][refused].tolist())
            assert not set(items.media_id_M[found.row_P[mine]]) & set(seen_B[b].tolist())
            assert contexts.account_id_B[b] not in author_id_P[mine]
            assert len(set(found.row_P[mine].tolist())) == mine.sum()
        assert (items.non_recommendable_M[found.row_P] <= 0.2).all()
        assert (items.created_at_ms_M[found.row_P] <= contexts.request_time_ms_B[found.user_P]).all()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_a_mask_of_integrity_scores_lets_nothing_else_through(share: float) -> None:
    items = random_items(3, media=400)
    allowed_M = np.random.default_rng(0).random(400) < share
    items.non_recommendable_M[:] = np.where(allowed_M, 0.0, 1.0)
    masked = catalogue_of(items)
    contexts, seen_B = random_users(items, 1, 4)
    plan = optimised(compile_query("user.trending().filter(non_recommendable_model_threshold=0.5)", masked.vocabulary))
    audience = Audience.of(contexts, seen_B, np.full(4, 400), masked)
    found = Execution(plan, Run(audience, RULES, 1)).answer()
    assert allowed_M[found.row_P].all()


def test_the_published_program_runs_as_it_stands() -> None:
    liked = CATALOGUE.items.media_id_M[[3, 50, 120, 200, 280]].tolist()
    plan = optimised(compile_query(PUBLISHED))
    found = run(plan, user(history=likes(*liked)), [NOBODY_SAW], np.array([300]))
    items = CATALOGUE.items
    seeds = {int(items.author_row_M[row]) for row in items.rows(np.array(liked))}
    assert set(found.seed_row_P.tolist()) <= seeds
    assert not set(items.author_row_M[found.row_P].tolist()) & seeds
    assert (items.non_recommendable_M[found.row_P] <= 0.2).all()
    assert np.bincount(items.author_row_M[found.row_P]).max() <= 10
    assert [source.path for source in plan.sources] == [
        "liked > author > account_nn > posted_media > filter > rank > diversify_by"
    ]


def test_round_robin_gives_every_seed_its_turn() -> None:
    liked = CATALOGUE.items.media_id_M[[3, 50, 120, 200, 280]].tolist()
    contexts, count_B = user(history=likes(*liked)), np.array([300])
    spread = run(optimised(compile_query(PUBLISHED)), contexts, [NOBODY_SAW], count_B)
    ranked = run(optimised(compile_query(PUBLISHED.rsplit(".", 1)[0])), contexts, [NOBODY_SAW], count_B)
    assert sorted(spread.row_P.tolist()) == sorted(ranked.row_P.tolist())
    left = {seed: int((spread.seed_row_P == seed).sum()) for seed in set(spread.seed_row_P.tolist())}
    place = 0
    while left:
        turn = spread.seed_row_P[place : place + len(left)].tolist()
        assert sorted(turn) == sorted(left)
        left = {seed: count - 1 for seed, count in left.items() if count > 1}
        place += len(turn)
    for seed in set(spread.seed_row_P.tolist()):
        own = [flow.row_P[flow.seed_row_P == seed].tolist() for flow in (spread, ranked)]
        assert own[0] == own[1]


def test_weights_of_one_and_zero_are_the_first_source_alone() -> None:
    text = f"a = {PUBLISHED}\nb = user.trending()\n"
    contexts, seen_B = random_users(CATALOGUE.items, 4, 3)
    count_B = np.array([30, 30, 30])
    both, alone = (
        answer(optimised(compile_query(text + end)), contexts, seen_B, count_B) for end in ("mix(a=1, b=0)", "a")
    )
    assert {name: both[name] for name in COLUMNS[:3]} == {name: alone[name] for name in COLUMNS[:3]}


def test_shares_are_refilled_where_a_source_runs_dry_and_the_inner_mix_first() -> None:
    text = """
    few = user.trending().limit(4)
    many = user.trending(window=48h)
    inner = mix(few=0.5, many=0.5)
    fresh = user.fresh(max_age=30d)
    mix(inner=0.5, fresh=0.5)
    """
    plan = optimised(compile_query(text, CATALOGUE.vocabulary))
    found = run(plan, user(), [NOBODY_SAW], np.array([40]))
    names = [plan.sources[number].name for number in found.source_P.tolist()]
    assert names.count("few") + names.count("many") == names.count("fresh") == 20
    assert names.count("few") <= 4


def test_a_limit_behind_a_mix_is_its_size() -> None:
    text = "a = user.trending()\nb = user.fresh(max_age=30d)\nmix(a=0.8, b=0.2).limit(10)"
    plan = optimised(compile_query(text))
    found = run(plan, user(), [NOBODY_SAW], np.array([50]))
    assert np.bincount(found.source_P).tolist() == [8, 2]


def test_fallback_takes_the_first_list_that_is_long_enough() -> None:
    plan = optimised(compile_query("fallback(user.liked().co_occurring(), user.trending().limit(9), at_least=5)"))
    items = CATALOGUE.items
    rich = user(history=likes(*items.media_id_M[:40].tolist()))
    found = run(plan, concatenate([rich, user("bob")]), [NOBODY_SAW] * 2, np.array([20, 20]))
    assert set(found.source_P[found.user_P == 0].tolist()) == {0}
    assert found.source_P[found.user_P == 1].tolist() == [1] * 9


def test_the_packaged_query_fills_every_page() -> None:
    plan = optimised(compile_query(DEFAULT_QUERY.read_text(), CATALOGUE.vocabulary))
    contexts, _ = random_users(CATALOGUE.items, 2, 6)
    found = run(plan, contexts, [NOBODY_SAW] * 6, np.full(6, 60))
    assert found.count_B.tolist() == [60] * 6


def test_nobody_and_an_empty_catalogue_are_fine() -> None:
    empty = catalogue_of(random_items(1, media=0, accounts=1))
    plan = optimised(compile_query(DEFAULT_QUERY.read_text(), empty.vocabulary))
    for contexts in (user(), concatenate([user(), user("bob")])):
        users = len(contexts)
        audience = Audience.of(contexts, [NOBODY_SAW] * users, np.full(users, 10), empty)
        assert len(Execution(plan, Run(audience, RULES, len(plan.sources))).answer()) == 0

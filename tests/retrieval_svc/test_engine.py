from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.context import UserContexts, concatenate
from features.counters import DAY_MS
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.ragged import Int64
from retrieval_svc.sourced import Sourced
from tests.retrieval_svc.worlds import NOBODY_SAW, NOW, catalogue_of, likes, random_items, random_users, user

CATALOGUE = catalogue_of(random_items(7))
ENGINE = RetrievalEngine(CATALOGUE, SourcingConfig())

seeds, counts = st.integers(0, 10_000), st.integers(1, 400)


def only(**weights: float) -> RetrievalEngine:
    return RetrievalEngine(CATALOGUE, SourcingConfig(source_weights=weights))


def one(contexts: UserContexts, count: int, seen: Int64 = NOBODY_SAW, engine: RetrievalEngine = ENGINE) -> Sourced:
    return engine.retrieve(contexts, [seen], np.array([count]))


def eligible(contexts: UserContexts, seen: Int64) -> set[int]:
    """By plain Python: what one user may get at all."""
    items = CATALOGUE.items
    kinds = zip(contexts.history_media_id_H.tolist(), contexts.history_action_H.tolist(), strict=True)
    disliked = items.rows(np.array([media for media, action in kinds if action >= Action.HIDE], dtype=np.int64))
    hidden = set(items.author_row_M[disliked[disliked >= 0]].tolist())
    columns = (items.media_id_M, items.author_row_M, items.created_at_ms_M, items.non_recommendable_M)
    return {
        media
        for media, author, created, risk in zip(*(column.tolist() for column in columns), strict=True)
        if author not in hidden and created <= contexts.request_time_ms_B[0] and risk <= 0.2
    } - set(seen.tolist())


@settings(max_examples=40)
@given(seeds, counts)
def test_a_user_gets_distinct_eligible_media_until_none_is_left(seed: int, count: int) -> None:
    contexts, seen_B = random_users(CATALOGUE.items, seed, 1)
    allowed = eligible(contexts, seen_B[0])
    found = one(contexts, count, seen_B[0]).candidates.media_id_N.tolist()
    assert len(set(found)) == len(found) == min(count, len(allowed))
    assert set(found) <= allowed


@settings(max_examples=25)
@given(seeds, st.integers(1, 6))
def test_a_user_never_depends_on_who_else_is_in_the_batch(seed: int, users: int) -> None:
    contexts, seen_B = random_users(CATALOGUE.items, seed, users)
    count_B = np.random.default_rng(seed).integers(0, 300, users)
    together = ENGINE.retrieve(contexts, seen_B, count_B)
    for b in range(users):
        alone = ENGINE.retrieve(user_of(contexts, b), seen_B[b : b + 1], count_B[b : b + 1])
        rows = slice(*together.candidates.offsets[b : b + 2].tolist())
        for name in ("media_id_N", "author_id_N", "seed_account_id_N", "source_index_N", "score_N"):
            assert getattr(together.candidates, name)[rows].tolist() == getattr(alone.candidates, name).tolist()
        assert together.reports.dropped_BSR[b].tolist() == alone.reports.dropped_BSR[0].tolist()


@settings(max_examples=25)
@given(seeds, counts)
def test_the_report_accounts_for_every_proposal(seed: int, count: int) -> None:
    contexts, seen_B = random_users(CATALOGUE.items, seed, 3)
    sourced = ENGINE.retrieve(contexts, seen_B, np.full(3, count))
    reports = sourced.reports
    assert (reports.kept_BS + reports.dropped_BSR.sum(axis=2)).tolist() == reports.proposed_BS.tolist()
    assert reports.kept_BS.sum(axis=1).tolist() == np.diff(sourced.candidates.offsets).tolist()


@settings(max_examples=25)
@given(seeds, counts)
def test_scores_are_finite_and_never_rise(seed: int, count: int) -> None:
    contexts, seen_B = random_users(CATALOGUE.items, seed, 1)
    score_N = one(contexts, count, seen_B[0]).candidates.score_N
    assert np.isfinite(score_N).all()
    assert (np.diff(score_N) <= 0).all()


@given(seeds)
def test_the_same_request_gets_the_same_answer(seed: int) -> None:
    contexts, seen_B = random_users(CATALOGUE.items, seed, 1)
    first, second = (one(contexts, 50, seen_B[0]).candidates for _ in range(2))
    assert first.media_id_N.tolist() == second.media_id_N.tolist()


def user_of(contexts: UserContexts, b: int) -> UserContexts:
    rows = slice(*contexts.history_offsets[b : b + 2].tolist())
    columns = (contexts.history_media_id_H, contexts.history_action_H, contexts.history_time_ms_H)
    history = zip(*(column[rows].tolist() for column in columns), strict=True)
    return user(contexts.user_ids[b], [(media, Action(action), time) for media, action, time in history])


def test_a_source_of_no_weight_is_as_if_it_were_not_there() -> None:
    contexts = user(history=likes(*CATALOGUE.items.media_id_M[:5].tolist()))
    alone, weightless = only(trending=1), only(trending=1, account_nn=0, fresh=0)
    assert weightless.retrieve(contexts, [NOBODY_SAW], np.array([40])).candidates.sources == ("trending",)
    found = [one(contexts, 40, engine=engine).candidates.media_id_N.tolist() for engine in (alone, weightless)]
    assert found[0] == found[1]


def test_quotas_follow_the_weights_where_sources_can_fill_them() -> None:
    sourced = one(user(), 40, engine=only(trending=3, fresh=1))
    assert sourced.reports.kept_BS.tolist() == [[30, 10]]
    assert sourced.candidates.sources == ("trending", "fresh")


def test_an_unknown_user_is_served_by_what_needs_no_history() -> None:
    reports = one(user(), 100).reports
    kept = dict(zip(reports.sources, reports.kept_BS[0].tolist(), strict=True))
    assert kept["trending"] + kept["fresh"] == 100
    assert min(kept["trending"], kept["fresh"]) >= 25


def test_every_candidate_carries_author_source_and_seed() -> None:
    found = one(user(history=likes(*CATALOGUE.items.media_id_M[:9].tolist())), 60).candidates
    items = CATALOGUE.items
    author_N = items.account_id_U[items.author_row_M[items.rows(found.media_id_N)]]
    from_accounts_N = np.isin(np.array(found.sources)[found.source_index_N], ["account_nn", "engaged_accounts"])
    assert found.author_id_N.tolist() == author_N.tolist()
    assert (found.seed_account_id_N > 0).tolist() == from_accounts_N.tolist()
    assert from_accounts_N.any()


def test_a_user_who_saw_nearly_everything_gets_the_rest() -> None:
    allowed = sorted(eligible(user(), NOBODY_SAW))
    seen = np.setdiff1d(CATALOGUE.items.media_id_M, allowed[:3])
    assert sorted(one(user(), 50, seen).candidates.media_id_N.tolist()) == allowed[:3]


def test_nobody_gets_anything_from_before_the_first_media_item() -> None:
    assert len(one(user(at_ms=NOW - 40 * DAY_MS), 50).candidates) == 0


def test_wanting_nothing_and_asking_for_nobody_are_fine() -> None:
    assert len(one(user(), 0).candidates) == 0
    both = ENGINE.retrieve(concatenate([user(), user()]), [NOBODY_SAW] * 2, np.array([0, 3]))
    assert both.candidates.offsets.tolist() == [0, 0, 3]


def test_columns_that_do_not_fit_the_users_are_refused() -> None:
    with pytest.raises(ValueError, match="1 users, but 2 lists of seen media and 1 counts"):
        ENGINE.retrieve(user(), [NOBODY_SAW] * 2, np.array([1]))


def test_an_empty_catalogue_gives_empty_lists() -> None:
    engine = RetrievalEngine(catalogue_of(random_items(1, media=0, accounts=1)), SourcingConfig())
    engine.warm_up(10)
    assert len(one(user(history=likes(5)), 10, engine=engine).candidates) == 0


def test_an_ordinary_user_gets_all_that_a_page_needs(catalogue: Catalogue) -> None:
    big = RetrievalEngine(catalogue_of(random_items(2, media=4000, accounts=100)), SourcingConfig())
    seen = big.catalogue.items.media_id_M[big.catalogue.orders.trending_row_M[:2000]]
    contexts = user(history=likes(*seen[:40].tolist()))
    assert len(one(contexts, 500, seen, big).candidates) == 500

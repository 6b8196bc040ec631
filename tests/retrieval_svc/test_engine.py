from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.context import UserContexts, concatenate
from features.counters import DAY_MS
from features.relations import Relation
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.igql.named import UnknownQuery
from retrieval_svc.servicer import encode_reports, reports_in_order
from retrieval_svc.sourced import Sourced
from retrieval_svc.together import candidates_of
from serving.ragged import Int64
from tests.retrieval_svc.worlds import NOBODY_SAW, NOW, catalogue_of, likes, random_items, random_users, user

CATALOGUE = catalogue_of(random_items(7))
ENGINE = RetrievalEngine(CATALOGUE, SourcingConfig())

seeds, counts = st.integers(0, 10_000), st.integers(1, 400)


@pytest.fixture
def engine_of(tmp_path: Path) -> Callable[[str], RetrievalEngine]:
    """Engines that serve a query."""

    def make(text: str) -> RetrievalEngine:
        file = tmp_path / "query.igql"
        file.write_text(text)
        return RetrievalEngine(CATALOGUE, SourcingConfig(igql_file=file))

    return make


def one(contexts: UserContexts, count: int, seen: Int64 = NOBODY_SAW, engine: RetrievalEngine = ENGINE) -> Sourced:
    return engine.retrieve(contexts, [seen], np.array([count]))


def eligible(contexts: UserContexts, seen: Int64) -> set[int]:
    """By plain Python: what one user may get at all."""
    items = CATALOGUE.items
    kinds = zip(contexts.history_media_id_H.tolist(), contexts.history_action_H.tolist(), strict=True)
    disliked = items.rows(np.array([media for media, action in kinds if action >= Action.HIDE], dtype=np.int64))
    hidden = set(items.author_row_M[disliked[disliked >= 0]].tolist())
    refused = contexts.relation_account_id_R[contexts.relation_kind_R != Relation.FOLLOWED]
    hidden |= set(items.account_rows(np.append(refused, contexts.account_id_B)).tolist())
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
    parts = [random_users(CATALOGUE.items, seed + b, 1) for b in range(users)]
    count_B = np.random.default_rng(seed).integers(0, 300, users)
    seen_B = [seen for _, (seen,) in parts]
    together = ENGINE.retrieve(concatenate([contexts for contexts, _ in parts]), seen_B, count_B)
    for b, (contexts, _) in enumerate(parts):
        alone = ENGINE.retrieve(contexts, seen_B[b : b + 1], count_B[b : b + 1])
        rows = slice(*together.candidates.offsets[b : b + 2].tolist())
        for name in ("media_id_N", "author_id_N", "seed_account_id_N", "source_index_N", "score_N"):
            assert getattr(together.candidates, name)[rows].tolist() == getattr(alone.candidates, name).tolist()
        kept_BS = alone.reports.kept_BS
        assert together.reports.kept_BS[b].tolist() == kept_BS[0].tolist()


@pytest.fixture(scope="module")
def mixed_engine(tmp_path_factory: pytest.TempPathFactory) -> RetrievalEngine:
    """An engine with three queries, of which two share a source."""
    directory = tmp_path_factory.mktemp("queries")
    (directory / "fresh.igql").write_text("new = user.fresh(max_age=30d)\nnew")
    (directory / "both.igql").write_text("new = user.fresh(max_age=30d)\nold = user.trending()\nmix(new=1, old=2)")
    return RetrievalEngine(CATALOGUE, SourcingConfig(igql_directory=directory))


@settings(max_examples=10)
@given(seeds, st.lists(st.sampled_from(["", "fresh", "both"]), min_size=1, max_size=6))
def test_a_user_with_another_query_gets_what_it_gives_alone(
    mixed_engine: RetrievalEngine, seed: int, queries: list[str]
) -> None:
    users = [random_users(CATALOGUE.items, seed + b, 1) for b in range(len(queries))]
    count_B = np.random.default_rng(seed).integers(1, 100, len(queries))
    contexts, seen_B = concatenate([contexts for contexts, _ in users]), [seen for _, (seen,) in users]
    parts = mixed_engine.retrieve_by_query(contexts, seen_B, count_B, queries)
    together, reports = candidates_of(parts), reports_in_order(parts)
    for b, ((context, (seen,)), query) in enumerate(zip(users, queries, strict=True)):
        alone = mixed_engine.retrieve(context, [seen], count_B[b : b + 1], query)
        rows = range(*together.offsets[b : b + 2].tolist())
        for name in ("media_id_N", "author_id_N", "seed_account_id_N", "score_N"):
            assert getattr(together, name)[list(rows)].tolist() == getattr(alone.candidates, name).tolist()
        found = [(together.source(row), together.source_path(row)) for row in rows]
        own = alone.candidates
        assert found == [(own.source(row), own.source_path(row)) for row in range(len(own))]
        assert [reports[b]] == encode_reports(alone.reports)


def test_an_unknown_query_is_refused_with_its_name(mixed_engine: RetrievalEngine) -> None:
    with pytest.raises(UnknownQuery, match="is 'frsh', which is no query of this service; known: both, fresh"):
        mixed_engine.retrieve_by_query(concatenate([user(), user()]), [NOBODY_SAW] * 2, np.ones(2, int), ["", "frsh"])


@settings(max_examples=25)
@given(seeds, counts)
def test_the_report_accounts_for_every_proposal(seed: int, count: int) -> None:
    contexts, seen_B = random_users(CATALOGUE.items, seed, 3)
    sourced = ENGINE.retrieve(contexts, seen_B, np.full(3, count))
    reports = sourced.reports
    assert (reports.dropped_BSR >= 0).all()
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


def test_a_source_of_no_weight_is_as_if_it_were_not_there(engine_of: Callable[[str], RetrievalEngine]) -> None:
    contexts = user(history=likes(*CATALOGUE.items.media_id_M[:5].tolist()))
    text = "a = user.trending()\nb = user.liked().co_occurring()\n"
    alone, weightless = engine_of(text + "a"), engine_of(text + "mix(a=1, b=0)")
    found = [one(contexts, 40, engine=engine).candidates.media_id_N.tolist() for engine in (alone, weightless)]
    assert found[0] == found[1]
    assert weightless.retrieve(contexts, [NOBODY_SAW], np.array([40])).reports.kept_BS.sum() == 40


def test_quotas_follow_the_weights_where_sources_can_fill_them(engine_of: Callable[[str], RetrievalEngine]) -> None:
    sourced = one(user(), 40, engine=engine_of("a = user.trending()\nb = user.fresh(max_age=30d)\nmix(a=3, b=1)"))
    assert sourced.reports.kept_BS.tolist() == [[30, 10]]
    assert sourced.candidates.sources == ("a", "b")


def test_an_unknown_user_is_served_by_what_needs_no_history() -> None:
    reports = one(user(), 100).reports
    kept = {source.path: count for source, count in zip(reports.sources, reports.kept_BS[0].tolist(), strict=True)}
    assert sum(kept.values()) == 100
    assert {path.split(" > ")[0] for path, count in kept.items() if count} <= {"trending", "fresh", "segment_trending"}


def test_every_candidate_carries_author_source_path_and_seed() -> None:
    found = one(user(history=likes(*CATALOGUE.items.media_id_M[:9].tolist())), 60).candidates
    items = CATALOGUE.items
    author_N = items.account_id_U[items.author_row_M[items.rows(found.media_id_N)]]
    seeded = np.array(["interacted" in path for path in found.source_paths])
    assert found.author_id_N.tolist() == author_N.tolist()
    assert (found.seed_account_id_N > 0).tolist() == seeded[found.source_index_N].tolist()
    assert (found.seed_account_id_N > 0).any()
    assert len(found.source_paths) == len(found.sources)


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
    assert len(one(user(history=likes(5)), 10, engine=engine).candidates) == 0


def test_an_ordinary_user_gets_all_that_a_page_needs(catalogue: Catalogue) -> None:
    big = RetrievalEngine(catalogue_of(random_items(2, media=4000, accounts=100)), SourcingConfig())
    seen = big.catalogue.items.media_id_M[big.catalogue.trends(None).row_M[:2000]]
    contexts = user(history=likes(*seen[:40].tolist()))
    assert len(one(contexts, 500, seen, big).candidates) == 500

"""Requests joined and answers parted: nobody can tell from an answer that the call was shared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import Action
from features.shards import WHOLE, Shard
from protos.explore.v1.candidates_pb2 import Candidates
from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from protos.explore.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse, SourceReport, SourcingReport, Unmixed
from protos.explore.v1.user_context_pb2 import UserContext
from serving.columns import CandidateColumns, Lists, Ranked
from serving.errors import StageContractViolation
from serving.holder import Holder
from serving.ranking import RankingServicer
from serving.recipe import ListOf
from serving.scorer import Scorer
from serving.telemetry import NoTelemetry
from serving.wire import (
    RankAsk,
    RetrieveAsk,
    Sourced,
    decode_rank_request,
    decode_retrieve_request,
    encode_candidates,
    encode_unmixed,
)
from serving.wire.joining import NotJoinable, RankJoining, RetrieveJoining
from tests.serving.batches import rank_ask, same_answer, user
from tests.serving.doubles import TasteScorer, Untimed

RANK, RETRIEVE = RankJoining(), RetrieveJoining()
SOURCES = "abcdefgh"


@st.composite
def parts(draw: st.DrawFn) -> list[CandidateColumns]:
    """Candidates of several requests, any sources of a few, some with operator paths. Drawn small: the values come from a seed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths_of = draw(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3), min_size=1, max_size=4))
    return [_columns(rng, lengths, draw(st.integers(1, 8)), draw(st.booleans())) for lengths in lengths_of]


def _columns(rng: np.random.Generator, lengths: Sequence[int], n_sources: int, with_paths: bool) -> CandidateColumns:
    rows = sum(lengths)
    names = tuple(rng.permutation(list(SOURCES))[:n_sources].tolist())
    score_N = rng.standard_normal(rows).astype(np.float32)
    return CandidateColumns(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        media_id_N=rng.permutation(1100)[:rows] + 1,
        author_id_N=rng.integers(1, 2**63 - 1, rows),
        seed_account_id_N=rng.integers(0, 3, rows),
        source_index_N=rng.integers(0, n_sources, rows).astype(np.uint8),
        score_N=np.where(rng.random(rows) < 0.2, np.float32(np.nan), score_N),
        sources=names,
        source_paths=tuple(f"{name} > mix" for name in names) if with_paths else (),
    )


def _users(columns: CandidateColumns) -> list[UserContext]:
    return [user(f"user-{b}", [(int(at) + 1, Action.LIKE, 5)]) for b, at in enumerate(columns.offsets[1:])]


@st.composite
def rank_asks(draw: st.DrawFn) -> list[RankAsk]:
    """Any valid requests for one bundle."""
    asks = []
    for number, columns in enumerate(draw(parts())):
        users = _users(columns)
        ask = RankAsk(
            users,
            columns,
            weights=[{"click": number + 0.5, "negative": -1.0 * b} for b in range(len(users))],
            keep=draw(st.lists(st.integers(1, 5), min_size=len(users), max_size=len(users))),
            request_id=f"r{number}",
            bundle_version="v1",
        )
        asks.append(ask)
    return asks


async def answers(asks: Sequence[RankAsk]) -> list[Ranked]:
    """As the real servicer gives them."""
    scorers = Holder[Scorer]()
    scorers.put("v1", TasteScorer())
    servicer = RankingServicer("rank", scorers, NoTelemetry())
    ranked = [ask.answer(await servicer.Rank(ask.message(), Untimed()), "rank") for ask in asks]
    await servicer.close()
    return ranked


@settings(max_examples=50)
@given(rank_asks())
def test_shared_answers_are_bit_for_bit_those_of_calls_alone(asks: list[RankAsk]) -> None:
    (shared,) = asyncio.run(answers([RANK.join(asks)]))
    for mine, theirs in zip(asyncio.run(answers(asks)), RANK.part("rank", shared, asks), strict=True):
        same_answer(mine, theirs)


@given(rank_asks())
def test_a_joined_request_says_of_every_row_what_its_own_request_says(asks: list[RankAsk]) -> None:
    joined = decode_rank_request(RANK.join(asks).message())
    rows: list[tuple[object, ...]] = []
    for ask in asks:
        rows += _rows(ask.candidates)
    assert _rows(joined.candidates) == rows
    assert joined.request_id == ",".join(ask.request_id for ask in asks)
    assert joined.keep_B.tolist() == [keep for ask in asks for keep in ask.keep]
    assert list(joined.weights) == [table for ask in asks for table in ask.weights]
    assert joined.contexts.user_ids == tuple(each.user_id for ask in asks for each in ask.users)


def _rows(columns: CandidateColumns) -> list[tuple[object, ...]]:
    return [
        (
            columns.media_id_N[row],
            columns.author_id_N[row],
            columns.seed_account_id_N[row],
            columns.score_N[row].tobytes(),
            columns.source(row),
        )
        for row in range(len(columns))
    ]


def test_requests_of_the_same_sources_keep_their_order() -> None:
    joined = RANK.join([rank_ask([[1.0, 2.0]]), rank_ask([[3.0]])]).candidates
    assert (joined.sources, joined.source_index_N.tolist()) == (("liked", "trending"), [1, 0, 1])


def _of(*sources: str) -> RankAsk:
    ask = rank_ask([[1.0, 2.0]])
    return replace(ask, candidates=replace(ask.candidates, sources=sources, source_paths=()))


def test_every_source_is_named_once_in_the_order_of_the_requests() -> None:
    joined = RANK.join([_of("fresh", "liked"), _of("liked", "new")]).candidates
    assert (joined.sources, joined.source_index_N.tolist()) == (("fresh", "liked", "new"), [1, 0, 2, 1])


def test_more_sources_than_a_byte_can_name_do_not_fit_into_one_request() -> None:
    asks = [_of(*(f"{half}-{number}" for number in range(129))) for half in range(2)]
    with pytest.raises(NotJoinable, match="258 sources"):
        RANK.join(asks)


def test_only_requests_for_one_bundle_share_a_call_and_those_for_features_none() -> None:
    ask = rank_ask([[1.0]])
    assert RANK.key(ask) == ""
    ask = replace(ask, bundle_version="v2")
    assert RANK.key(ask) == "v2"
    assert RANK.key(replace(ask, with_features=True)) is None


@pytest.mark.parametrize("field", ["users", "weights", "keep"])
def test_a_request_whose_parallel_entries_differ_goes_alone(field: str) -> None:
    ask = rank_ask([[1.0], [2.0]])
    assert RANK.key(ask) == ""
    assert RANK.key(replace(ask, **{field: getattr(ask, field)[1:]})) is None
    assert RANK.key(rank_ask([])) is None
    assert RETRIEVE.key(RetrieveAsk([user()], [])) is None


def test_a_request_is_about_as_large_as_its_message() -> None:
    ask = rank_ask([[1.0] * 500, [2.0] * 300])
    assert RANK.size(ask) == pytest.approx(ask.message().ByteSize(), rel=0.02)
    of_retrieval = RetrieveAsk([user("ann", [(1, Action.LIKE, 5)] * 900), user("bob")], [500, 500], ["fresh", "fresh"])
    assert RETRIEVE.size(of_retrieval) == pytest.approx(of_retrieval.message().ByteSize(), rel=0.02)


def _retrieval(number: int, found: CandidateColumns, shard: Shard = WHOLE) -> RetrieveAsk:
    """A request to which a service could answer these candidates."""
    counts = [max(count, 1) for count in np.diff(found.offsets).tolist()]
    return RetrieveAsk(_users(found), counts, request_id=f"r{number}", bundle_version="v1", shard=shard)


def _answer(number: int, found: CandidateColumns) -> RetrieveResponse:
    report = SourcingReport(sources=[SourceReport(source=name, proposed=number + 1) for name in SOURCES])
    return RetrieveResponse(
        candidates=encode_candidates(found),
        bundle_version="v1",
        reports=[report] * (len(found.offsets) - 1),
        elapsed_us=7,
    )


def _joined(answers: Sequence[RetrieveResponse], parts: Sequence[CandidateColumns]) -> RetrieveResponse:
    """What a service would answer to all of their requests as one."""
    return RetrieveResponse(
        candidates=encode_candidates(_concatenated(parts)),
        bundle_version="v1",
        reports=[report for answer in answers for report in answer.reports],
        elapsed_us=7,
    )


def _same(mine: Sourced, theirs: Sourced) -> None:
    assert encode_candidates(mine.candidates) == encode_candidates(theirs.candidates)
    assert list(mine.reports) == list(theirs.reports)
    assert (mine.lists is None) == (theirs.lists is None)
    if mine.lists is not None and theirs.lists is not None:
        assert mine.lists.candidates is mine.candidates
        assert encode_unmixed(mine.lists) == encode_unmixed(theirs.lists)


@given(parts())
def test_shared_candidates_are_bit_for_bit_those_of_calls_alone(parts: list[CandidateColumns]) -> None:
    parts = [replace(part, sources=tuple(SOURCES), source_paths=()) for part in parts]  # a service has one program
    asks = [_retrieval(number, part) for number, part in enumerate(parts)]
    answers = [_answer(number, part) for number, part in enumerate(parts)]
    joined = RETRIEVE.join(asks)
    request = decode_retrieve_request(joined.message())
    assert request.contexts.user_ids == tuple(each.user_id for ask in asks for each in ask.users)
    assert request.count_B.tolist() == [count for ask in asks for count in ask.counts]
    assert request.request_id == ",".join(ask.request_id for ask in asks)
    shared = joined.answer(_joined(answers, parts), "retrieval")
    for ask, answer, own in zip(asks, answers, RETRIEVE.part("retrieval", shared, asks), strict=True):
        _same(own, ask.answer(answer, "retrieval"))


@given(parts(), st.integers(1, 3))
def test_shared_lists_of_a_shard_are_bit_for_bit_those_of_calls_alone(
    parts: list[CandidateColumns], lists: int
) -> None:
    parts = [replace(part, sources=tuple(SOURCES), source_paths=()) for part in parts]
    shard = Shard(1, 2)
    asks = [_retrieval(number, part, shard) for number, part in enumerate(parts)]
    answers = [_answer(number, part) for number, part in enumerate(parts)]
    for answer, part in zip(answers, parts, strict=True):
        answer.shard_index, answer.shard_count = shard.index, shard.count
        answer.unmixed.CopyFrom(_unmixed(part, lists))
    joined = RETRIEVE.join(asks)
    assert joined.message().unmixed
    response = _joined(answers, parts)
    response.shard_index, response.shard_count = shard.index, shard.count
    response.unmixed.CopyFrom(
        Unmixed(
            lists=lists,
            list_index=b"".join(answer.unmixed.list_index for answer in answers),
            key=b"".join(answer.unmixed.key for answer in answers),
            group=b"".join(answer.unmixed.group for answer in answers),
            tie=b"".join(answer.unmixed.tie for answer in answers),
            goes_on=b"".join(answer.unmixed.goes_on for answer in answers),
            recipe=answers[0].unmixed.recipe,
        )
    )
    shared = joined.answer(response, "retrieval")
    for ask, answer, own in zip(asks, answers, RETRIEVE.part("retrieval", shared, asks), strict=True):
        _same(own, ask.answer(answer, "retrieval"))


def test_a_shard_is_asked_for_lists_and_shares_no_call_with_the_whole() -> None:
    whole = RetrieveAsk([user()], [5], bundle_version="v1")
    shard = replace(whole, shard=Shard(1, 2))
    assert (whole.message().unmixed, shard.message().unmixed) == (False, True)
    assert len({RETRIEVE.key(whole), RETRIEVE.key(shard), RETRIEVE.key(replace(whole, shard=Shard(0, 2)))}) == 3


def _unmixed(part: CandidateColumns, lists: int) -> Unmixed:
    users, rows = len(part.offsets) - 1, len(part)
    more_BL = np.arange(users * lists).reshape(users, lists) % 2 == 0
    list_N = np.arange(rows, dtype=np.int64) % lists
    place_N = np.arange(rows)
    return encode_unmixed(Lists(part, list_N, place_N / 3, place_N / 7 + 1, place_N + 1, more_BL, ListOf(0)))


def _concatenated(parts: Sequence[CandidateColumns]) -> CandidateColumns:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return CandidateColumns(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        media_id_N=np.concatenate([part.media_id_N for part in parts]),
        author_id_N=np.concatenate([part.author_id_N for part in parts]),
        seed_account_id_N=np.concatenate([part.seed_account_id_N for part in parts]),
        source_index_N=np.concatenate([part.source_index_N for part in parts]),
        score_N=np.concatenate([part.score_N for part in parts]),
        sources=parts[0].sources,
    )


def test_only_requests_of_one_query_join_and_it_stays_theirs() -> None:
    def ask(*queries: str, users: int = 1) -> RetrieveAsk:
        return RetrieveAsk([user()] * users, [5] * users, queries, bundle_version="v1")

    fresh = [ask("fresh"), ask("fresh", "fresh", users=2)]
    assert RETRIEVE.key(fresh[0]) == RETRIEVE.key(fresh[1]) != RETRIEVE.key(ask())
    assert RETRIEVE.join(fresh).message().queries == ["fresh"] * 3
    assert RETRIEVE.key(ask()) == RETRIEVE.key(ask(""))
    assert RETRIEVE.join([ask(""), ask()]).message().queries == []
    assert RETRIEVE.key(ask("fresh", "", users=2)) is None
    assert RETRIEVE.key(ask("fresh", users=2)) is None


def test_an_answer_to_fewer_users_than_were_asked_for_is_a_breach_of_contract() -> None:
    joined = RETRIEVE.join([RetrieveAsk([user()], [5])] * 2)
    alone = _columns(np.random.default_rng(1), [3], 2, with_paths=False)
    with pytest.raises(StageContractViolation, match=r"candidates\.offsets has 2 entries, expected 3"):
        joined.answer(RetrieveResponse(candidates=encode_candidates(alone), reports=[SourcingReport()]), "retrieval")


def test_every_field_of_the_contract_is_joined_and_parted() -> None:
    """A field that is added must be thought of in joining.py, or requests that share a call would lose it."""
    fields = {
        message.DESCRIPTOR.name: {field.name for field in message.DESCRIPTOR.fields}
        for message in (RankRequest, RankResponse, RetrieveRequest, RetrieveResponse, Candidates, Unmixed)
    }
    columns = {"offsets", "media_id", "author_id", "seed_account_id", "source_index", "score", "sources"}
    request = {"request_id", "users", "bundle_version"}
    shard = {"shard_index", "shard_count"}
    rank_response = {"offsets", "row", "score", "tasks", "task_probability", "bundle_version", "timing"}
    assert fields == {
        "RankRequest": request | {"candidates", "weights", "keep", "with_features"},
        "RankResponse": rank_response | {"features", "feature_schema"},
        "RetrieveRequest": request | {"counts", "queries", "unmixed"},
        "RetrieveResponse": {"candidates", "bundle_version", "reports", "elapsed_us", *shard, "unmixed"},
        "Unmixed": {"lists", "list_index", "key", "goes_on", "recipe", "group", "tie"},
        "Candidates": columns | {"source_paths"},
    }

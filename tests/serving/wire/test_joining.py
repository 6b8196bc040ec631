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
from protos.explore.v1.candidates_pb2 import Candidates
from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from protos.explore.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse, SourceReport, SourcingReport, Unmixed
from protos.explore.v1.user_context_pb2 import UserContext
from serving.columns import CandidateColumns, Lists
from serving.errors import StageContractViolation
from serving.holder import Holder
from serving.ranking import RankingServicer
from serving.recipe import ListOf
from serving.scorer import Scorer
from serving.telemetry import NoTelemetry
from serving.wire import (
    decode_rank_request,
    decode_rank_response,
    decode_retrieve_request,
    decode_retrieve_response,
    encode_candidates,
    encode_rank_request,
    encode_unmixed,
)
from serving.wire.joining import NotJoinable, RankJoining, RetrieveJoining
from tests.serving.batches import candidates, rank_request, user
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
def rank_requests(draw: st.DrawFn) -> list[RankRequest]:
    """Any valid requests for one bundle."""
    requests = []
    for number, columns in enumerate(draw(parts())):
        users = _users(columns)
        request = encode_rank_request(
            users,
            columns,
            weights=[{"click": number + 0.5, "negative": -1.0 * b} for b in range(len(users))],
            keep=draw(st.lists(st.integers(1, 5), min_size=len(users), max_size=len(users))),
            request_id=f"r{number}",
            bundle_version="v1",
        )
        request.candidates.CopyFrom(encode_candidates(columns))  # with paths, which a caller may send
        requests.append(request)
    return requests


async def answers(requests: Sequence[RankRequest]) -> list[RankResponse]:
    """As the real servicer gives them, without its times, which differ from call to call."""
    scorers = Holder[Scorer]()
    scorers.put("v1", TasteScorer())
    servicer = RankingServicer("rank", scorers, NoTelemetry())
    responses = [await servicer.Rank(request, Untimed()) for request in requests]
    await servicer.close()
    for response in responses:
        response.ClearField("timing")
    return responses


@settings(max_examples=50)
@given(rank_requests())
def test_shared_answers_are_bit_for_bit_those_of_calls_alone(requests: list[RankRequest]) -> None:
    (shared,) = asyncio.run(answers([RANK.join(requests)]))
    alone = asyncio.run(answers(requests))
    parted = RANK.part("rank", shared, requests)
    assert [part.SerializeToString() for part in parted] == [answer.SerializeToString() for answer in alone]
    for request, part in zip(requests, parted, strict=True):
        decode_rank_response(part, "rank", np.array(request.candidates.offsets), list(request.keep), "v1")


@given(rank_requests())
def test_a_joined_request_says_of_every_row_what_its_own_request_says(requests: list[RankRequest]) -> None:
    joined = decode_rank_request(RANK.join(requests))
    rows: list[tuple[object, ...]] = []
    for request in requests:
        rows += _rows(decode_rank_request(request).candidates)
    assert _rows(joined.candidates) == rows
    assert joined.request_id == ",".join(request.request_id for request in requests)
    assert joined.keep_B.tolist() == [keep for request in requests for keep in request.keep]


def _rows(columns: CandidateColumns) -> list[tuple[object, ...]]:
    return [
        (
            columns.media_id_N[row],
            columns.author_id_N[row],
            columns.seed_account_id_N[row],
            columns.score_N[row].tobytes(),
            columns.source(row),
            columns.source_path(row),
        )
        for row in range(len(columns))
    ]


def test_requests_of_the_same_sources_keep_their_order() -> None:
    joined = RANK.join([rank_request([[1.0, 2.0]]), rank_request([[3.0]])])
    assert list(joined.candidates.sources) == ["liked", "trending"]
    assert joined.candidates.source_index == bytes([1, 0, 1])


def test_more_sources_than_a_byte_can_name_do_not_fit_into_one_request() -> None:
    requests = [rank_request([[1.0]]), rank_request([[1.0]])]
    for half, request in enumerate(requests):
        request.candidates.sources[:] = [f"{half}-{i}" for i in range(129)]
    with pytest.raises(NotJoinable, match="258 sources"):
        RANK.join(requests)


def test_an_index_that_names_no_source_is_left_to_its_own_call() -> None:
    broken = rank_request([[1.0]])
    broken.candidates.source_index = b"\x07"
    with pytest.raises(NotJoinable, match="source_index"):
        RANK.join([rank_request([[1.0]]), broken])


def test_only_requests_for_one_bundle_share_a_call_and_those_for_features_none() -> None:
    request = rank_request([[1.0]])
    assert RANK.key(request) == ""
    request.bundle_version = "v2"
    assert RANK.key(request) == "v2"
    request.with_features = True
    assert RANK.key(request) is None


@pytest.mark.parametrize("column", ["media_id", "author_id", "seed_account_id", "source_index", "score"])
def test_a_request_whose_column_has_another_length_goes_alone(column: str) -> None:
    request = rank_request([[1.0, 2.0]])
    setattr(request.candidates, column, getattr(request.candidates, column)[:-1])
    assert RANK.key(request) is None


@pytest.mark.parametrize("field", ["users", "weights", "keep"])
def test_a_request_whose_parallel_entries_differ_goes_alone(field: str) -> None:
    request = rank_request([[1.0], [2.0]])
    del getattr(request, field)[0]
    assert RANK.key(request) is None
    assert RANK.key(RankRequest()) is None
    assert RETRIEVE.key(RetrieveRequest(users=[user()])) is None


def _answer(rows: Sequence[int], offsets: Sequence[int]) -> RankResponse:
    return RankResponse(
        offsets=offsets, row=np.array(rows, "<u4").tobytes(), score=np.zeros(len(rows), "<f4").tobytes()
    )


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (_answer([0, 2], [0, 1, 1]), "row has 8 bytes, expected 1 rows"),
        (_answer([2, 0], [0, 1, 2]), r"row\[0\] is 2, must be a row of the same user"),
        (_answer([0], [0, 1]), "offsets has 2 entries, expected 3"),
        (RankResponse(offsets=[0, 0, 0], score=b"1234"), "score has 4 bytes, expected 0"),
        (RankResponse(offsets=[0, 0, 0], feature_schema="x"), "feature_schema is set"),
    ],
)
def test_an_answer_to_something_else_is_a_breach_of_contract(answer: RankResponse, problem: str) -> None:
    requests = [rank_request([[1.0, 2.0]]), rank_request([[3.0]])]
    with pytest.raises(StageContractViolation, match=problem):
        RANK.part("rank", answer, requests)


def _retrieval(number: int, found: CandidateColumns) -> tuple[RetrieveRequest, RetrieveResponse]:
    """A request, and what a service would answer to it."""
    users = _users(found)
    counts = [max(count, 1) for count in np.diff(found.offsets).tolist()]
    report = SourcingReport(sources=[SourceReport(source="a", proposed=number + 1, dropped={"seen": 1})])
    return (
        RetrieveRequest(request_id=f"r{number}", users=users, counts=counts, bundle_version="v1"),
        RetrieveResponse(
            candidates=encode_candidates(found), bundle_version="v1", reports=[report] * len(users), elapsed_us=7
        ),
    )


@given(parts())
def test_shared_candidates_are_bit_for_bit_those_of_calls_alone(parts: list[CandidateColumns]) -> None:
    parts = [replace(part, sources=tuple(SOURCES), source_paths=()) for part in parts]  # a service has one program
    requests, responses = zip(*(_retrieval(number, part) for number, part in enumerate(parts)), strict=True)
    joined = RETRIEVE.join(requests)
    assert len(decode_retrieve_request(joined).contexts) == sum(len(request.users) for request in requests)
    shared = RetrieveResponse(
        candidates=encode_candidates(_concatenated(parts)),
        bundle_version="v1",
        reports=[report for response in responses for report in response.reports],
        elapsed_us=7,
    )
    parted = RETRIEVE.part("retrieval", shared, requests)
    assert parted == list(responses)
    for request, part in zip(requests, parted, strict=True):
        decode_retrieve_response(part, "retrieval", list(request.counts), "v1")


@given(parts(), st.integers(1, 3))
def test_shared_lists_of_a_shard_are_bit_for_bit_those_of_calls_alone(
    parts: list[CandidateColumns], lists: int
) -> None:
    parts = [replace(part, sources=tuple(SOURCES), source_paths=()) for part in parts]
    requests, responses = [], []
    for number, part in enumerate(parts):
        request, response = _retrieval(number, part)
        request.unmixed, response.shard_index, response.shard_count = True, 1, 2
        response.unmixed.CopyFrom(_unmixed(part, lists))
        requests.append(request)
        responses.append(response)
    joined = RETRIEVE.join(requests)
    assert joined.unmixed
    assert RETRIEVE.key(requests[0]) != RETRIEVE.key(RetrieveRequest(users=[user()], counts=[5], bundle_version="v1"))
    shared = RetrieveResponse(
        candidates=encode_candidates(_concatenated(parts)),
        bundle_version="v1",
        reports=[report for response in responses for report in response.reports],
        elapsed_us=7,
        shard_index=1,
        shard_count=2,
        unmixed=Unmixed(
            lists=lists,
            list_index=b"".join(response.unmixed.list_index for response in responses),
            key=b"".join(response.unmixed.key for response in responses),
            group=b"".join(response.unmixed.group for response in responses),
            goes_on=b"".join(response.unmixed.goes_on for response in responses),
            recipe=responses[0].unmixed.recipe,
        ),
    )
    assert RETRIEVE.part("retrieval", shared, requests) == responses
    shared.unmixed.key += b"\0"
    with pytest.raises(StageContractViolation, match=r"unmixed\.key has"):
        RETRIEVE.part("retrieval", shared, requests)


def _unmixed(part: CandidateColumns, lists: int) -> Unmixed:
    users, rows = len(part.offsets) - 1, len(part)
    more_BL = np.arange(users * lists).reshape(users, lists) % 2 == 0
    list_N = np.arange(rows, dtype=np.int64) % lists
    return encode_unmixed(Lists(part, list_N, np.arange(rows) / 3, np.arange(rows) + 1, more_BL, ListOf(0)))


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
    def request(*queries: str, users: int = 1) -> RetrieveRequest:
        return RetrieveRequest(users=[user()] * users, counts=[5] * users, bundle_version="v1", queries=queries)

    fresh = [request("fresh"), request("fresh", "fresh", users=2)]
    assert RETRIEVE.key(fresh[0]) == RETRIEVE.key(fresh[1]) != RETRIEVE.key(request())
    assert list(RETRIEVE.join(fresh).queries) == ["fresh"] * 3
    assert RETRIEVE.key(request()) == RETRIEVE.key(request(""))
    assert list(RETRIEVE.join([request(""), request()]).queries) == []
    assert RETRIEVE.key(request("fresh", "", users=2)) is None
    assert RETRIEVE.key(request("fresh", users=2)) is None


def test_candidates_of_fewer_users_or_reports_than_were_asked_for_are_a_breach_of_contract() -> None:
    requests = [RetrieveRequest(users=[user()], counts=[5]), RetrieveRequest(users=[user()], counts=[5])]
    answer = RetrieveResponse(candidates=encode_candidates(candidates([[1.0], [2.0]])), reports=[SourcingReport()])
    with pytest.raises(StageContractViolation, match="reports has 1 entries"):
        RETRIEVE.part("retrieval", answer, requests)
    with pytest.raises(StageContractViolation, match=r"candidates\.offsets has 3 entries, expected 4"):
        RETRIEVE.part("retrieval", answer, [*requests, requests[0]])
    answer.candidates.score += b"\0"
    with pytest.raises(StageContractViolation, match=r"candidates\.score has 9 bytes, expected 8"):
        RETRIEVE.part("retrieval", answer, requests)


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
        "Unmixed": {"lists", "list_index", "key", "goes_on", "recipe", "group"},
        "Candidates": columns | {"source_paths"},
    }

"""Retrieve messages: what a request may hold, and what retrieval may answer."""

from __future__ import annotations

import numpy as np
import pytest

from protos.explore.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse, SourcingReport
from serving.errors import InvalidArgument, StageContractViolation
from serving.wire import decode_retrieve_request, decode_retrieve_response, encode_candidates
from tests.serving.batches import candidates, user


def answer() -> RetrieveResponse:
    found = encode_candidates(candidates([[0.5, 0.4], [0.3]]))
    return RetrieveResponse(candidates=found, bundle_version="v1", reports=[SourcingReport(), SourcingReport()])


def test_request_is_decoded() -> None:
    ann = user("ann")
    ann.seen_media_id = np.array([4, 5], "<i8").tobytes()
    batch = decode_retrieve_request(RetrieveRequest(request_id="r", users=[ann], counts=[500], bundle_version="v"))
    assert (batch.request_id, batch.bundle_version, batch.count_B.tolist()) == ("r", "v", [500])
    assert batch.seen.media_id_S.tolist() == [4, 5]
    assert batch.contexts.user_ids == ("ann",)


@pytest.mark.parametrize(
    ("counts", "message"), [([0], r"^counts\[0\] is 0"), ([], "^counts has 0"), ([1, 1], "^counts has 2")]
)
def test_wrong_counts_are_refused(counts: list[int], message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        decode_retrieve_request(RetrieveRequest(users=[user()], counts=counts))


@pytest.mark.parametrize(("sent", "meant"), [([], ("", "")), (["", "fresh"], ("", "fresh"))])
def test_queries_are_named_for_all_users_or_none(sent: list[str], meant: tuple[str, ...]) -> None:
    request = RetrieveRequest(users=[user("ann"), user("bob")], counts=[1, 1], queries=sent)
    assert decode_retrieve_request(request).queries_B == meant


def test_a_query_for_some_users_only_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"^queries has 1 entries, expected one for each of 2 users"):
        decode_retrieve_request(RetrieveRequest(users=[user("ann"), user("bob")], counts=[1, 1], queries=["fresh"]))


def test_answer_is_decoded() -> None:
    assert decode_retrieve_response(answer(), "retrieval", [2, 1], "v1").media_id_N.tolist() == [1, 2, 3]


def test_more_candidates_than_asked_for_break_the_contract() -> None:
    with pytest.raises(StageContractViolation, match=r"^retrieval broke its contract: .* found\[0\] is 2"):
        decode_retrieve_response(answer(), "retrieval", [1, 1])


def test_same_media_twice_for_one_user_breaks_the_contract() -> None:
    response = answer()
    response.candidates.media_id = np.array([8, 8, 3], "<i8").tobytes()
    with pytest.raises(StageContractViolation, match=r"candidates\.media_id\[1\] repeats 8"):
        decode_retrieve_response(response, "retrieval", [2, 1])


def test_same_media_for_two_users_is_fine() -> None:
    response = answer()
    response.candidates.media_id = np.array([8, 9, 8], "<i8").tobytes()
    assert decode_retrieve_response(response, "retrieval", [2, 1]).media_id_N.tolist() == [8, 9, 8]


def test_missing_report_breaks_the_contract() -> None:
    response = answer()
    del response.reports[1]
    with pytest.raises(StageContractViolation, match="reports has 1 entries"):
        decode_retrieve_response(response, "retrieval", [2, 1])


def test_other_bundle_than_the_pinned_one_breaks_the_contract() -> None:
    with pytest.raises(StageContractViolation, match="'v2' was asked for"):
        decode_retrieve_response(answer(), "retrieval", [2, 1], "v2")

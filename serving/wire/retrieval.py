"""Retrieve messages <-> columns. Shapes: B users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.context import UserContexts
from protos.explore.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse
from serving.columns import CandidateColumns, Int64
from serving.errors import InvalidArgument
from serving.wire.candidates import decode_candidates
from serving.wire.columns import answer_of, check_length, check_rows, positive_B, repeated_in_a_user
from serving.wire.contexts import SeenMedia, decode_contexts, decode_seen


@dataclass(frozen=True)
class RetrieveBatch:
    """A decoded RetrieveRequest: B users, what they have seen, how many candidates each wants."""

    request_id: str
    contexts: UserContexts
    seen: SeenMedia
    count_B: Int64
    bundle_version: str  # "" = the current one
    queries_B: tuple[str, ...]  # "" = the default one


def decode_retrieve_request(request: RetrieveRequest) -> RetrieveBatch:
    """The request as columns. Raises InvalidArgument with the path of the first field that is wrong."""
    contexts = decode_contexts(request.users)
    seen = decode_seen(request.users)
    count_B = positive_B(request.counts, len(contexts), "counts")
    if request.queries:
        check_length(request.queries, len(contexts), "queries")
    queries_B = tuple(request.queries) or ("",) * len(contexts)
    return RetrieveBatch(request.request_id, contexts, seen, count_B, request.bundle_version, queries_B)


def decode_retrieve_response(
    response: RetrieveResponse, stage: str, counts: Sequence[int], bundle_version: str = ""
) -> CandidateColumns:
    """The candidates in the answer to a request that asked for `counts` per user, each media at most once per user.

    Raises StageContractViolation, naming the stage and the field, unless it can be an answer to that request.
    """
    with answer_of(stage):
        columns = decode_candidates(response.candidates, len(counts))
        found_B = np.diff(columns.offsets)
        check_rows(found_B <= np.asarray(counts), found_B, "candidates.offsets: found", "at most what was asked for")
        repeated = repeated_in_a_user(columns.media_id_N, columns.offsets)
        if len(repeated):
            media_id = columns.media_id_N[repeated[0]]
            raise InvalidArgument(f"candidates.media_id[{repeated[0]}]", f"repeats {media_id} for the same user")
        check_length(response.reports, len(counts), "reports")
        if bundle_version and response.bundle_version != bundle_version:
            raise InvalidArgument("bundle_version", f"is {response.bundle_version!r}, {bundle_version!r} was asked for")
    return columns

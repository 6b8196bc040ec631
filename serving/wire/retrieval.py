"""Retrieve messages <-> columns. Shapes: B users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.context import UserContexts
from features.shards import WHOLE, Shard
from protos.explore.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse, SourcingReport
from protos.explore.v1.user_context_pb2 import UserContext
from serving.columns import CandidateColumns, Int64, Lists
from serving.errors import InvalidArgument
from serving.wire.candidates import decode_candidates
from serving.wire.columns import answer_of, check_length, check_rows, positive_B, repeated_in_a_user
from serving.wire.contexts import SeenMedia, decode_contexts, decode_seen
from serving.wire.unmixed import decode_unmixed


@dataclass(frozen=True)
class Sourced:
    """What retrieval found for B users, and what became of the media that its sources proposed. A shard finds lists."""

    candidates: CandidateColumns
    reports: Sequence[SourcingReport]
    lists: Lists | None = None  # of a shard; `candidates` are their rows


@dataclass(frozen=True)
class RetrieveAsk:
    """What retrieval is asked: users and counts have one entry per user, as have queries, unless all want the default one."""

    users: Sequence[UserContext]
    counts: Sequence[int]
    queries: Sequence[str] = ()
    request_id: str = ""
    bundle_version: str = ""
    shard: Shard = WHOLE  # one of several is asked for its lists, which the caller merges

    def message(self) -> RetrieveRequest:
        """As it goes over the wire."""
        return RetrieveRequest(
            request_id=self.request_id,
            users=self.users,
            counts=self.counts,
            bundle_version=self.bundle_version,
            queries=self.queries,
            unmixed=self.shard != WHOLE,
        )

    def answer(self, response: RetrieveResponse, stage: str) -> Sourced:
        """What retrieval answered, checked. Raises StageContractViolation as `decode_retrieve_response` and `decode_lists` do."""
        if self.shard == WHOLE:
            candidates = decode_retrieve_response(response, stage, self.counts, self.bundle_version)
            return Sourced(candidates, response.reports)
        lists = decode_lists(response, stage, len(self.users), self.shard, self.bundle_version)
        return Sourced(lists.candidates, response.reports, lists)


@dataclass(frozen=True)
class RetrieveBatch:
    """A decoded RetrieveRequest: B users, what they have seen, how many candidates each wants."""

    request_id: str
    contexts: UserContexts
    seen: SeenMedia
    count_B: Int64
    bundle_version: str  # "" = the current one
    queries_B: tuple[str, ...]  # "" = the default one
    unmixed: bool = False  # the caller merges the lists of all shards


def decode_retrieve_request(request: RetrieveRequest) -> RetrieveBatch:
    """The request as columns. Raises InvalidArgument with the path of the first field that is wrong."""
    contexts = decode_contexts(request.users)
    seen = decode_seen(request.users)
    count_B = positive_B(request.counts, len(contexts), "counts")
    if request.queries:
        check_length(request.queries, len(contexts), "queries")
    queries_B = tuple(request.queries) or ("",) * len(contexts)
    if request.unmixed and len(set(queries_B)) > 1:
        raise InvalidArgument("queries", "must be the same for all users of an unmixed call")
    version, unmixed = request.bundle_version, request.unmixed
    return RetrieveBatch(request.request_id, contexts, seen, count_B, version, queries_B, unmixed)


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
        _check_answer(response, len(counts), bundle_version, WHOLE)
    return columns


def decode_lists(response: RetrieveResponse, stage: str, users: int, shard: Shard, bundle_version: str = "") -> Lists:
    """The answer of one shard to an unmixed request.

    Raises StageContractViolation, naming the stage and the field, unless it can be one, and of that shard.
    """
    with answer_of(stage):
        _check_answer(response, users, bundle_version, shard)
        candidates = decode_candidates(response.candidates, users)
        for b, report in enumerate(response.reports):
            check_length(report.sources, len(candidates.sources), f"reports[{b}].sources")
        return decode_unmixed(response.unmixed, candidates)


def _check_answer(response: RetrieveResponse, users: int, bundle_version: str, shard: Shard) -> None:
    index, count = response.shard_index, max(response.shard_count, 1)
    if (index, count) != (shard.index, shard.count):
        problem = f"says that this is shard {index} of {count}, it is called as {shard}"
        raise InvalidArgument("shard_index", f"{problem}; EXPLORE_RETRIEVAL_ADDRESS lists every shard once, in order")
    check_length(response.reports, users, "reports")
    if bundle_version and response.bundle_version != bundle_version:
        raise InvalidArgument("bundle_version", f"is {response.bundle_version!r}, {bundle_version!r} was asked for")

"""Several requests as one and its answer as theirs, as if each had been sent alone.

Only requests whose columns have the lengths that their offsets say are joined: a broken one cannot shift its neighbours' rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from protos.explore.v1.candidates_pb2 import Candidates
from protos.explore.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse
from serving.columns import CandidateColumns, Ranked
from serving.errors import InvalidArgument
from serving.wire.candidates import MAX_SOURCES
from serving.wire.columns import answer_of, check_length, decode_offsets
from serving.wire.ranking import RankAsk

_WIDTHS = {"media_id": 8, "author_id": 8, "seed_account_id": 8, "source_index": 1, "score": 4}  # bytes per row
_UNMIXED_WIDTHS = {"list_index": 1, "key": 8, "group": 8}
_ROW = sum(_WIDTHS.values())
_FIRST = np.zeros(1, dtype=np.int64)


class NotJoinable(Exception):
    """These requests do not fit into one."""


class RankJoining:
    """Rank requests, joined before they are messages and parted after their answer was checked, so that a call is written, read and
    checked once for all of its users. `with_features` ones are not joined: their answers are large, and nobody waits for them."""

    def key(self, ask: RankAsk) -> Hashable | None:
        """Requests with the same key may share a call; None: it must go alone."""
        users = len(ask.users)
        whole = 0 < users == len(ask.weights) == len(ask.keep) == len(ask.candidates.offsets) - 1
        return ask.bundle_version if whole and not ask.with_features else None

    def users(self, ask: RankAsk) -> int:
        """How many users it carries."""
        return len(ask.users)

    def size(self, ask: RankAsk) -> int:
        """About how many bytes it takes."""
        return sum(user.ByteSize() for user in ask.users) + len(ask.candidates) * _ROW

    def join(self, asks: Sequence[RankAsk]) -> RankAsk:
        """One request of all their users. Raises NotJoinable if they name more sources than one byte can."""
        return RankAsk(
            users=[user for ask in asks for user in ask.users],
            candidates=_join_candidates([ask.candidates for ask in asks]),
            weights=[table for ask in asks for table in ask.weights],
            keep=[count for ask in asks for count in ask.keep],
            request_id=",".join(ask.request_id for ask in asks),
            bundle_version=asks[0].bundle_version,
        )

    def part(self, stage: str, ranked: Ranked, asks: Sequence[RankAsk]) -> list[Ranked]:
        """Everybody's own answer, of one that was checked against the joined request."""
        parts, user, first_row = list[Ranked](), 0, 0
        for ask in asks:
            own = ranked.offsets[user : user + len(ask.users) + 1]
            rows = slice(int(own[0]), int(own[-1]))
            parts.append(
                replace(
                    ranked,
                    offsets=own - rows.start,
                    row_M=ranked.row_M[rows] - first_row,
                    score_M=ranked.score_M[rows],
                    probability_MT=ranked.probability_MT[rows],
                )
            )
            user, first_row = user + len(ask.users), first_row + len(ask.candidates)
        return parts


class RetrieveJoining:
    """Retrieve requests. Those of another query do not join: an answer names the sources of all its users' queries."""

    def key(self, request: RetrieveRequest) -> Hashable | None:
        """Requests with the same key may share a call; None: it must go alone."""
        users, names = len(request.users), set(request.queries)
        whole = 0 < users == len(request.counts) and len(request.queries) in {0, users}
        return (request.bundle_version, request.unmixed, *(names or {""})) if whole and len(names) < 2 else None

    def users(self, request: RetrieveRequest) -> int:
        """How many users it carries."""
        return len(request.users)

    def size(self, request: RetrieveRequest) -> int:
        """How many bytes it takes."""
        return request.ByteSize()

    def join(self, requests: Sequence[RetrieveRequest]) -> RetrieveRequest:
        """One request of all their users."""
        joined = RetrieveRequest(
            request_id=",".join(request.request_id for request in requests),
            bundle_version=requests[0].bundle_version,
            unmixed=requests[0].unmixed,
        )
        for request in requests:
            joined.users.extend(request.users)
            joined.counts.extend(request.counts)
        if any(requests[0].queries):  # the same one for all, by their key
            joined.queries.extend([requests[0].queries[0]] * len(joined.users))
        return joined

    def part(
        self, stage: str, response: RetrieveResponse, requests: Sequence[RetrieveRequest]
    ) -> list[RetrieveResponse]:
        """Everybody's own answer. Raises StageContractViolation if it is none to the joined request."""
        with answer_of(stage):
            return _part_retrieve(response, requests)


def _join_candidates(parts: Sequence[CandidateColumns]) -> CandidateColumns:
    """One after the other, without the paths of their sources, which no ranking stage is told."""
    named = dict.fromkeys(part.sources for part in parts)
    sources = parts[0].sources if len(named) == 1 else tuple(dict.fromkeys(name for names in named for name in names))
    if len(sources) > MAX_SOURCES:
        raise NotJoinable(f"{len(sources)} sources, at most {MAX_SOURCES} fit")
    rows = np.cumsum([0, *(len(part) for part in parts)])
    offsets = [part.offsets[1:] + before for part, before in zip(parts, rows.tolist(), strict=False)]
    return CandidateColumns(
        offsets=np.concatenate([_FIRST, *offsets]),
        media_id_N=np.concatenate([part.media_id_N for part in parts]),
        author_id_N=np.concatenate([part.author_id_N for part in parts]),
        seed_account_id_N=np.concatenate([part.seed_account_id_N for part in parts]),
        source_index_N=np.concatenate([_renumbered(part, sources) for part in parts]),
        score_N=np.concatenate([part.score_N for part in parts]),
        sources=sources,
    )


def _renumbered(part: CandidateColumns, sources: tuple[str, ...]) -> NDArray[np.uint8]:
    if part.sources == sources:
        return part.source_index_N
    number = {name: place for place, name in enumerate(sources)}
    return np.array([number[name] for name in part.sources], dtype=np.uint8)[part.source_index_N]


def _part_retrieve(response: RetrieveResponse, requests: Sequence[RetrieveRequest]) -> list[RetrieveResponse]:
    candidates, users = response.candidates, sum(len(request.users) for request in requests)
    offsets = decode_offsets(candidates.offsets, users, "candidates.offsets")
    for name, width in _WIDTHS.items():
        _check_bytes(getattr(candidates, name), int(offsets[-1]) * width, f"candidates.{name}")
    check_length(response.reports, users, "reports")
    for name, width in _UNMIXED_WIDTHS.items() if response.HasField("unmixed") else ():
        if name != "group" or response.unmixed.group:
            _check_bytes(getattr(response.unmixed, name), int(offsets[-1]) * width, f"unmixed.{name}")
    _check_bytes(response.unmixed.goes_on, users * response.unmixed.lists, "unmixed.goes_on")
    parts, user = [], 0
    for request in requests:
        own = offsets[user : user + len(request.users) + 1]
        start, end = int(own[0]), int(own[-1])
        part = RetrieveResponse(
            candidates=Candidates(
                offsets=(own - start).tolist(), sources=candidates.sources, source_paths=candidates.source_paths
            ),
            bundle_version=response.bundle_version,
            reports=response.reports[user : user + len(request.users)],
            elapsed_us=response.elapsed_us,
            shard_index=response.shard_index,
            shard_count=response.shard_count,
        )
        for name, width in _WIDTHS.items():
            setattr(part.candidates, name, getattr(candidates, name)[start * width : end * width])
        if response.HasField("unmixed"):
            lists = response.unmixed.lists
            part.unmixed.lists = lists
            part.unmixed.recipe.CopyFrom(response.unmixed.recipe)
            part.unmixed.goes_on = response.unmixed.goes_on[user * lists : (user + len(request.users)) * lists]
            for name, width in _UNMIXED_WIDTHS.items():
                setattr(part.unmixed, name, getattr(response.unmixed, name)[start * width : end * width])
        parts.append(part)
        user += len(request.users)
    return parts


def _check_bytes(data: bytes, expected: int, field: str) -> None:
    if len(data) != expected:
        raise InvalidArgument(field, f"has {len(data)} bytes, expected {expected}")

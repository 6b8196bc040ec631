"""Several requests as one and its answer as theirs, byte for byte as if each had been sent alone. Columns stay bytes.

Only requests whose columns have the lengths that their offsets say are joined: a broken one cannot shift its neighbours' rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from protos.explore.v1.candidates_pb2 import Candidates
from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from protos.explore.v1.retrieval_pb2 import RetrieveRequest, RetrieveResponse
from serving.errors import InvalidArgument
from serving.wire.candidates import MAX_SOURCES
from serving.wire.columns import UINT32, answer_of, check_length, check_rows, column, decode_offsets, to_bytes

_WIDTHS = {"media_id": 8, "author_id": 8, "seed_account_id": 8, "source_index": 1, "score": 4}  # bytes per row
_UNMIXED_WIDTHS = {"list_index": 1, "key": 8, "group": 8}


class NotJoinable(Exception):
    """These requests do not fit into one."""


class RankJoining:
    """Rank requests. `with_features` ones are not joined: their answers are large, and nobody waits for them."""

    def key(self, request: RankRequest) -> Hashable | None:
        """Requests with the same key may share a call; None: it must go alone."""
        users = len(request.users)
        whole = (
            users > 0 and len(request.weights) == len(request.keep) == users and _is_whole(request.candidates, users)
        )
        return request.bundle_version if whole and not request.with_features else None

    def users(self, request: RankRequest) -> int:
        """How many users it carries."""
        return len(request.users)

    def join(self, requests: Sequence[RankRequest]) -> RankRequest:
        """One request of all their users. Raises NotJoinable if they name more sources than one byte can."""
        joined = RankRequest(
            request_id=",".join(request.request_id for request in requests),
            candidates=_join_candidates([request.candidates for request in requests]),
            bundle_version=requests[0].bundle_version,
        )
        for request in requests:
            joined.users.extend(request.users)
            joined.weights.extend(request.weights)
            joined.keep.extend(request.keep)
        return joined

    def part(self, stage: str, response: RankResponse, requests: Sequence[RankRequest]) -> list[RankResponse]:
        """Everybody's own answer. Raises StageContractViolation if it is none to the joined request."""
        with answer_of(stage):
            return _part_rank(response, requests)


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


def _is_whole(candidates: Candidates, users: int) -> bool:
    offsets = candidates.offsets
    if len(offsets) != users + 1 or offsets[0] != 0:
        return False
    paths = len(candidates.source_paths)
    return paths in {0, len(candidates.sources)} and all(
        len(getattr(candidates, name)) == offsets[users] * width for name, width in _WIDTHS.items()
    )


def _join_candidates(parts: Sequence[Candidates]) -> Candidates:
    offsets, rows = [0], 0
    for part in parts:
        offsets += [rows + offset for offset in part.offsets[1:]]
        rows = offsets[-1]
    sources, index = _join_sources(parts)
    names, paths = zip(*sources, strict=True) if sources else ((), ())
    joined = Candidates(
        offsets=offsets,
        source_index=b"".join(index),
        sources=names,
        source_paths=paths if any(part.source_paths for part in parts) else (),
    )
    for name in _WIDTHS.keys() - {"source_index"}:
        setattr(joined, name, b"".join(getattr(part, name) for part in parts))
    return joined


def _join_sources(parts: Sequence[Candidates]) -> tuple[list[tuple[str, str]], list[bytes]]:
    """Every (name, path) once, and each part's source_index into them. An index that names no source stays out of range."""
    sources: dict[tuple[str, str], int] = {}
    index = []
    for part in parts:
        paths = part.source_paths or [""] * len(part.sources)
        numbers = [sources.setdefault(source, len(sources)) for source in zip(part.sources, paths, strict=True)]
        if len(sources) > MAX_SOURCES:
            raise NotJoinable(f"{len(sources)} sources, at most {MAX_SOURCES} fit")
        if part.source_index and max(part.source_index) >= len(numbers):
            raise NotJoinable("a source_index names no source")
        index.append(part.source_index.translate(bytes(numbers) + bytes(256 - len(numbers))))
    return list(sources), index


def _part_rank(response: RankResponse, requests: Sequence[RankRequest]) -> list[RankResponse]:
    offsets = decode_offsets(response.offsets, sum(len(request.users) for request in requests), "offsets")
    kept, tasks = int(offsets[-1]), len(response.tasks)
    row_M = column(response.row, UINT32, kept, "row")
    _check_bytes(response.score, kept * 4, "score")
    _check_bytes(response.task_probability, kept * tasks * 4, "task_probability")
    if response.features or response.feature_schema:
        raise InvalidArgument("feature_schema", "is set, but no features were asked for")
    parts, user, first_row = [], 0, 0
    for request in requests:
        own = offsets[user : user + len(request.users) + 1]
        start, end, rows = int(own[0]), int(own[-1]), request.candidates.offsets[-1]
        own_M = row_M[start:end]
        belongs_M = (own_M >= first_row) & (own_M < first_row + rows)
        check_rows(belongs_M, own_M, "row", "a row of the same user in the request")
        part = RankResponse(
            offsets=(own - start).tolist(),
            row=to_bytes(own_M - first_row, UINT32),
            score=response.score[start * 4 : end * 4],
            tasks=response.tasks,
            task_probability=response.task_probability[start * tasks * 4 : end * tasks * 4],
            bundle_version=response.bundle_version,
        )
        if response.HasField("timing"):
            part.timing.CopyFrom(response.timing)
        parts.append(part)
        user, first_row = user + len(request.users), first_row + rows
    return parts


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

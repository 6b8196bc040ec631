"""Several requests as one and its answer as theirs, as if each had been sent alone.

They are joined before they are messages and parted after their answer was checked, so that a call is written, read and checked once
for all of its users. Only requests whose columns have the lengths that their offsets say are joined: a broken one cannot shift its
neighbours' rows.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from serving.columns import CandidateColumns, Lists, Ranked
from serving.wire.candidates import MAX_SOURCES
from serving.wire.ranking import RankAsk
from serving.wire.retrieval import RetrieveAsk, Sourced

_ROW = 8 + 8 + 8 + 1 + 4  # bytes of a candidate on the wire
_FIRST = np.zeros(1, dtype=np.int64)


class NotJoinable(Exception):
    """These requests do not fit into one."""


class RankJoining:
    """Rank requests. `with_features` ones are not joined: their answers are large, and nobody waits for them."""

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

    def key(self, ask: RetrieveAsk) -> Hashable | None:
        """Requests with the same key may share a call; None: it must go alone."""
        users, names = len(ask.users), set(ask.queries)
        whole = 0 < users == len(ask.counts) and len(ask.queries) in {0, users}
        return (ask.bundle_version, ask.shard, *(names or {""})) if whole and len(names) < 2 else None

    def users(self, ask: RetrieveAsk) -> int:
        """How many users it carries."""
        return len(ask.users)

    def size(self, ask: RetrieveAsk) -> int:
        """About how many bytes it takes."""
        return sum(user.ByteSize() for user in ask.users)

    def join(self, asks: Sequence[RetrieveAsk]) -> RetrieveAsk:
        """One request of all their users."""
        users = [user for ask in asks for user in ask.users]
        query = next(iter(asks[0].queries), "")  # the same one for all, by their key
        return RetrieveAsk(
            users,
            counts=[count for ask in asks for count in ask.counts],
            queries=[query] * len(users) if query else (),
            request_id=",".join(ask.request_id for ask in asks),
            bundle_version=asks[0].bundle_version,
            shard=asks[0].shard,
        )

    def part(self, stage: str, sourced: Sourced, asks: Sequence[RetrieveAsk]) -> list[Sourced]:
        """Everybody's own answer, of one that was checked against the joined request."""
        parts, first = list[Sourced](), 0
        for ask in asks:
            end = first + len(ask.users)
            candidates, lists = _of_users(sourced.candidates, first, end), sourced.lists
            own_lists = None if lists is None else _lists_of_users(lists, candidates, first, end)
            parts.append(Sourced(candidates, sourced.reports[first:end], own_lists))
            first = end
        return parts


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


def _of_users(columns: CandidateColumns, first: int, end: int) -> CandidateColumns:
    own = columns.offsets[first : end + 1]
    rows = slice(int(own[0]), int(own[-1]))
    return CandidateColumns(
        offsets=own - rows.start,
        media_id_N=columns.media_id_N[rows],
        author_id_N=columns.author_id_N[rows],
        seed_account_id_N=columns.seed_account_id_N[rows],
        source_index_N=columns.source_index_N[rows],
        score_N=columns.score_N[rows],
        sources=columns.sources,
        source_paths=columns.source_paths,
    )


def _lists_of_users(lists: Lists, candidates: CandidateColumns, first: int, end: int) -> Lists:
    rows = slice(*lists.candidates.offsets[[first, end]].tolist())
    return Lists(
        candidates,
        list_N=lists.list_N[rows],
        key_N=lists.key_N[rows],
        tie_N=lists.tie_N[rows],
        group_N=lists.group_N[rows],
        more_BL=lists.more_BL[first:end],
        recipe=lists.recipe,
    )

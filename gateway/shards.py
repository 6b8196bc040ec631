"""Retrieval as the gateway asks it: one service, or one per shard, all at once, whose answers are merged.

What a shard does not answer is missing from the candidates, and said. Only when no shard answers is sourcing lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import grpc

from features.shards import Shard
from gateway.merging import Merged, merged
from protos.explore.v1.retrieval_pb2 import SourceReport
from serving.channels import RetrievalClient
from serving.columns import CandidateColumns, Lists
from serving.errors import CallError, StageContractViolation, StageFailed
from serving.wire import RetrieveAsk


@dataclass(frozen=True)
class Lost:
    """A shard that is missing from the candidates."""

    shard: Shard
    error: CallError


@dataclass(frozen=True)
class Found:
    """Candidates of one user, what became of the media that each source proposed, and who did not answer."""

    candidates: CandidateColumns
    sources: Sequence[SourceReport]
    lost: tuple[Lost, ...] = ()


class Retrieval:
    """Asks every shard once. `clients`: one per shard, in order."""

    def __init__(self, clients: Sequence[RetrievalClient]) -> None:
        self._clients = clients

    async def find(self, ask: RetrieveAsk, stage: str, timeout_s: float) -> Found:
        """Candidates for the one user of the request. Raises CallError if no shard answers, or if the query is refused."""
        if len(self._clients) == 1:
            found = await self._clients[0].retrieve(ask, timeout_s)
            return Found(found.candidates, found.reports[0].sources)
        asked = (self._ask(number, ask, timeout_s) for number in range(len(self._clients)))
        answers = _of_one_query(await asyncio.gather(*asked), stage)
        lost = tuple(answer for answer in answers if isinstance(answer, Lost))
        if ask.queries:
            _raise_refusal(lost)
        parts = [answer for answer in answers if isinstance(answer, _Part)]
        if not parts:
            raise lost[0].error
        whole = merged([part.lists for part in parts], ask.counts[0])
        return Found(whole.candidates, _reports(parts, whole), lost)

    async def _ask(self, number: int, ask: RetrieveAsk, timeout_s: float) -> _Part | Lost:
        shard = Shard(number, len(self._clients))
        try:
            sourced = await self._clients[number].retrieve(replace(ask, shard=shard), timeout_s)
        except CallError as error:
            return Lost(shard, error)
        assert sourced.lists is not None  # as one of several shards was asked
        return _Part(shard, sourced.lists, sourced.reports[0].sources)


@dataclass(frozen=True)
class _Part:
    shard: Shard
    lists: Lists
    sources: Sequence[SourceReport]

    def query(self) -> object:
        """What must be the same for answers that are merged."""
        columns = self.lists.candidates
        return self.lists.recipe, columns.sources, columns.source_paths


def _of_one_query(answers: Sequence[_Part | Lost], stage: str) -> list[_Part | Lost]:
    """While a changed query reaches one shard after the other, their lists differ: the first one that answers decides."""
    first = next((answer for answer in answers if isinstance(answer, _Part)), None)
    kept: list[_Part | Lost] = []
    for answer in answers:
        if isinstance(answer, _Part) and first is not None and answer.query() != first.query():
            problem = f"is of another query than that of {first.shard}"
            kept.append(Lost(answer.shard, StageContractViolation(stage, "unmixed.recipe", problem)))
        else:
            kept.append(answer)
    return kept


def _raise_refusal(lost: Sequence[Lost]) -> None:
    """A query that one shard does not know cannot be had: half of its candidates would be those of no query."""
    for each in lost:
        if isinstance(each.error, StageFailed) and each.error.status is grpc.StatusCode.INVALID_ARGUMENT:
            raise each.error


def _reports(parts: Sequence[_Part], found: Merged) -> list[SourceReport]:
    """The reports of all shards as one: proposed = kept + everything in `dropped`."""
    columns = found.candidates
    reports = []
    for s, source in enumerate(columns.sources):
        of_shards = [part.sources[s] for part in parts]
        dropped: dict[str, int] = {}
        for report in of_shards:
            for reason, count in report.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + count
        for reason, count in (("duplicate", int(found.duplicate_S[s])), ("over_quota", int(found.over_quota_S[s]))):
            dropped[reason] = dropped.get(reason, 0) + count
        reports.append(
            SourceReport(
                source=source,
                proposed=sum(report.proposed for report in of_shards),
                kept=int(found.kept_S[s]),
                dropped={reason: count for reason, count in dropped.items() if count},
                path=columns.source_paths[s] if columns.source_paths else "",
            )
        )
    return reports

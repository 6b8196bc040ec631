"""The stages as the gateway calls them: one narrows the candidates or, if it is lost, is skipped and says so.

A stage is never trusted: `serving.wire` checks that its answer can be an answer to what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import grpc

from gateway.config import StagePlan
from gateway.fallback import PopularMedia
from gateway.feed import FeedRequest, Reason, Standing
from gateway.shards import Retrieval
from gateway.trace import Trace
from gateway.users import FeedUser
from serving.channels import RankingClient
from serving.columns import CandidateColumns
from serving.deadline import Budget
from serving.errors import BundleNotHeld, CallError, DeadlineExceeded, NotReady, StageFailed, Unavailable
from serving.wire import RankAsk, RetrieveAsk

RETRIEVAL = "retrieval"


@dataclass(frozen=True)
class Call:
    """What every stage of one request is told."""

    request: FeedRequest
    user: FeedUser
    weights: Mapping[str, float]
    bundle_version: str
    budget: Budget
    trace: Trace
    query: str = ""  # name of the query that candidates are sourced with; "" = the default one


class SourcingStage:
    """Retrieval; popular media when it is lost."""

    def __init__(self, plan: StagePlan, retrieval: Retrieval, popular: PopularMedia) -> None:
        self._plan, self._retrieval, self._popular = plan, retrieval, popular

    async def source(self, call: Call) -> Standing:
        """Up to `plan.keep` candidates that the user has not seen."""
        with call.trace.timed(RETRIEVAL, 0) as run:
            candidates = await self._candidates(call)
            run.candidates_out = len(candidates)
        if len(candidates) < call.request.page_size:
            detail = f"{len(candidates)} candidates for a page of {call.request.page_size}"
            call.trace.degrade(RETRIEVAL, Reason.UNDER_DELIVERED, detail)
        call.trace.source(candidates)
        return Standing.unranked(candidates)

    async def _candidates(self, call: Call) -> CandidateColumns:
        try:
            return await self._retrieve_for_arm(call)
        except CallError as error:
            call.trace.degrade(RETRIEVAL, reason_of(error), f"{error}; popular media used instead")
            return self._popular.candidates(call.user.contexts, call.user.seen_S, self._plan.keep)

    async def _retrieve_for_arm(self, call: Call) -> CandidateColumns:
        """By the query of the request's arm; by the default one, and then the trace says so, if retrieval does not know it."""
        try:
            return await self._retrieve(call, call.query)
        except StageFailed as error:
            if not call.query or error.status is not grpc.StatusCode.INVALID_ARGUMENT:
                raise
            call.trace.unserved.add("query")
            call.trace.degrade(RETRIEVAL, reason_of(error), f"{error}; the default query was used instead")
            return await self._retrieve(call, "")

    async def _retrieve(self, call: Call, query: str) -> CandidateColumns:
        ask = RetrieveAsk(
            users=call.user.messages_for_sourcing(self._plan.history),
            counts=[self._plan.keep],
            queries=[query] if query else (),
            request_id=call.request.request_id,
            bundle_version=call.bundle_version,
        )
        found = await self._retrieval.find(ask, RETRIEVAL, call.budget.share(self._plan.share))
        for lost in found.lost:
            # A version that is not held makes the gateway look again who holds it; time that was waited in vain is no sign of load.
            told = isinstance(lost.error, BundleNotHeld | DeadlineExceeded)
            reason = reason_of(lost.error) if told else Reason.PARTIAL
            call.trace.degrade(RETRIEVAL, reason, f"{lost.shard}: {lost.error}; what the other shards found was used")
        call.trace.sources = found.sources
        return found.candidates


class RankingStage:
    """Prerank, rank or rerank; the order of the stage before when it is lost."""

    def __init__(self, plan: StagePlan, client: RankingClient) -> None:
        self._plan, self._client = plan, client

    async def narrow(self, standing: Standing, call: Call) -> Standing:
        """The best `plan.keep` candidates by this stage's score."""
        count = len(standing.candidates)
        if count == 0:
            return standing
        with call.trace.timed(self._client.stage, count) as run:
            narrowed = await self._narrow(standing, call)
            run.candidates_out = len(narrowed.candidates)
        call.trace.kept[self._client.stage] = narrowed.candidates.media_id_N
        return narrowed

    async def _narrow(self, standing: Standing, call: Call) -> Standing:
        stage, keep = self._client.stage, self._plan.keep
        # Debug asks for the whole order and cuts it here, so that it sees how the dropped ones were placed.
        wanted = [len(standing.candidates) if call.trace.debug else keep]
        ask = RankAsk(
            users=call.user.messages(self._plan.history),
            candidates=standing.candidates,
            weights=[call.weights],
            keep=wanted,
            request_id=call.request.request_id,
            bundle_version=call.bundle_version,
        )
        try:
            ranked = await self._client.rank(ask, call.budget.share(self._plan.share))
        except CallError as error:
            return self._lost(standing, call, reason_of(error), str(error))
        if len(ranked.row_M) == 0:
            return self._lost(
                standing, call, Reason.ERROR, f"{stage} scored none of {len(standing.candidates)} candidates"
            )
        after = standing.after(ranked)
        call.trace.place(stage, standing, after, keep)
        return after.first(keep)

    def _lost(self, standing: Standing, call: Call, reason: Reason, why: str) -> Standing:
        stage, keep = self._client.stage, self._plan.keep
        call.trace.degrade(stage, reason, f"{why}; the order of the stage before was kept")
        call.trace.cut(stage, standing, keep)
        return standing.first(keep)


def reason_of(error: CallError) -> Reason:
    """The reason that goes into the response."""
    if isinstance(error, DeadlineExceeded):
        return Reason.DEADLINE
    if isinstance(error, BundleNotHeld):
        return Reason.BUNDLE_NOT_HELD
    if isinstance(error, Unavailable | NotReady):
        return Reason.UNAVAILABLE
    return Reason.ERROR

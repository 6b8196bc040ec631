"""The request path. Reading `Pipeline.page` is reading the architecture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.experiments.terms import Terms
from gateway.feed import FeedItem, FeedRequest, Page
from gateway.missed import Missed
from gateway.page import PagePolicy, compose, exposure_of, next_token
from gateway.stages import Call, RankingStage, SourcingStage
from gateway.trace import Trace
from gateway.users import Users
from serving.deadline import Budget

AfterPage = Callable[[Call, Sequence[FeedItem]], None]


def no_log(call: Call, items: Sequence[FeedItem]) -> None:
    """Without a funnel log, a page leaves nothing behind."""


@dataclass(frozen=True)
class Pipeline:
    """The cascade of one bundle: what a page is made of, in order."""

    users: Users
    sourcing: SourcingStage
    rankers: Sequence[RankingStage]
    terms: Terms  # what experiments may ask of the bundle
    missed: Missed
    bundle_version: str
    after_page: AfterPage = no_log  # returns at once

    async def page(self, request: FeedRequest, policy: PagePolicy, budget: Budget, trace: Trace) -> Page:
        """One page. Whatever fails on the way is recorded in the trace and made up for; nothing but a bug raises."""
        user = await self.users.load(request, budget, trace)
        call = Call(request, user, policy.weights, self.bundle_version, budget, trace, policy.query)

        standing = await self.sourcing.source(call)
        for ranker in self.rankers:
            standing = await ranker.narrow(standing, call)

        with trace.timed("diversity", len(standing.candidates)) as run:
            absence = self.missed.absence(request, user)
            items = compose(standing, request, policy, trace, absence)
            run.candidates_out = len(items)
        arms = policy.assignment.without(*trace.unserved)
        page = Page(items, self.bundle_version, user.cold, next_token(request, items), arms)
        if not request.preview:
            await self.users.remember(request, exposure_of(request, page), budget, trace)
            self.after_page(call, items)
        return page

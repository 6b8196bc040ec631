"""Stages as the gateway calls them, over real channels: narrowed, or skipped and said so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import grpc.aio
import numpy as np
import pytest

from features.actions import Action
from features.context import UserContexts
from features.relations import Relation
from features.user_state import EMPTY, HISTORY_RECORD
from gateway.config import Funnel, StagePlan
from gateway.fallback import POPULAR_SOURCE, PopularMedia
from gateway.feed import Reason, Standing
from gateway.shards import Retrieval
from gateway.stages import Call, RankingStage, SourcingStage, reason_of
from gateway.trace import Trace
from gateway.users import FeedUser
from serving.channels import RankingClient, RetrievalClient, open_channel
from serving.columns import CandidateColumns
from serving.deadline import Budget
from serving.errors import BundleNotHeld, CallError, DeadlineExceeded, Overloaded, StageContractViolation, Unavailable
from serving.scorer import Scored, Weights
from serving.testing import ranking_double, serve
from serving.wire import encode_rank_request
from tests.gateway.feeds import NOW_MS, candidates, feed_request, popular_items

PLAN = StagePlan(keep=2, share=0.5)
POPULAR = PopularMedia(popular_items([], []), np.array([11, 12, 13, 14]), np.array([1, 2, 3, 4]))


class LikeScorer:
    """Predicts one task: P(like) grows with the row; the second media item is one that it does not know."""

    tasks = ("like",)

    def score(self, contexts: UserContexts, columns: CandidateColumns, weight_BT: Weights) -> Scored:
        probability_N = np.linspace(0.1, 0.9, len(columns)).astype(np.float32)
        probability_N[columns.media_id_N == 101] = np.nan
        return Scored((probability_N * weight_BT[0, 0]).astype(np.float32), probability_N[:, None], 0, 0)


@pytest.fixture
async def rank() -> AsyncIterator[RankingStage]:
    async with serve(ranking_double(LikeScorer(), version="v1")) as channel:
        yield RankingStage(PLAN, RankingClient(channel, "rank"))


@pytest.fixture
async def nowhere() -> AsyncIterator[grpc.aio.Channel]:
    async with open_channel("127.0.0.1:1") as channel:
        yield channel


def _call(debug: bool = False, seconds: float = 10.0, version: str = "v1") -> Call:
    user = FeedUser(EMPTY.context("42", NOW_MS, ""), np.array([11]))
    return Call(feed_request(debug=debug), user, {"like": 2.0}, version, Budget(seconds), Trace(debug))


def _standing() -> Standing:
    return Standing.unranked(candidates([4.0, 3.0, 2.0, 1.0]))


def test_only_sourcing_is_told_what_was_seen_and_how_the_user_stands_to_accounts() -> None:
    blocked = {**EMPTY.relations, Relation.BLOCKED: np.array([9])}
    user = FeedUser(replace(EMPTY, relations=blocked).context("42", NOW_MS, ""), np.array([11]))
    (for_sourcing,), (for_ranking,) = user.messages_for_sourcing(50), user.messages(50)
    assert (for_sourcing.seen_media_id, for_sourcing.relation_account_id) == (_int64(11), _int64(9))
    assert for_sourcing.relation_kind == bytes([Relation.BLOCKED])
    assert for_ranking.seen_media_id == for_ranking.relation_account_id == for_ranking.relation_kind == b""


def test_a_stage_is_told_as_many_actions_as_its_row_of_the_funnel_says() -> None:
    history_H = np.array([(media, Action.LIKE, media) for media in range(1, 61)], dtype=HISTORY_RECORD)
    user = FeedUser(replace(EMPTY, history_H=history_H).context("42", NOW_MS, ""), np.array([11]))
    told = {plan.history: user.messages(plan.history)[0] for plan in (Funnel().rank, Funnel().rerank)}
    assert told[50].history_media_id == np.arange(11, 61).astype("<i8").tobytes()
    assert told[1000].history_media_id == np.arange(1, 61).astype("<i8").tobytes()
    assert user.messages_for_sourcing(50)[0].history_time_ms == told[50].history_time_ms
    assert user.messages(50)[0] is told[50]


def test_ranking_stages_get_the_sources_but_not_their_paths() -> None:
    sent = encode_rank_request([], candidates([1.0]), weights=[], keep=[]).candidates
    assert (list(sent.sources), list(sent.source_paths)) == (["trending"], [])


def _int64(value: int) -> bytes:
    return np.array([value], "<i8").tobytes()


async def test_a_stage_keeps_its_best_in_its_order(rank: RankingStage) -> None:
    after = await rank.narrow(_standing(), _call())
    assert after.candidates.media_id_N.tolist() == [103, 102]
    assert after.candidates.source_paths == ("trending > mix",)
    assert (after.tasks, after.probability_NT.shape) == (("like",), (2, 1))


async def test_debug_changes_nothing_but_what_is_known(rank: RankingStage) -> None:
    plain, call = await rank.narrow(_standing(), _call()), _call(debug=True)
    explained = await rank.narrow(_standing(), call)
    assert explained.candidates.media_id_N.tolist() == plain.candidates.media_id_N.tolist()
    assert call.trace.dropped == {100: "rank: rank 3 of 3, kept 2", 101: "rank: could not be scored"}


async def test_a_stage_that_scores_nothing_leaves_the_order_as_it_is_and_is_named(rank: RankingStage) -> None:
    """An empty page with nothing said would look like the end of the feed."""
    call, unknown = _call(debug=True), candidates([4.0, 3.0, 2.0, 1.0])
    unknown.media_id_N[:] = 101
    after = await rank.narrow(Standing.unranked(unknown), call)
    assert len(after.candidates) == 2
    (degraded,) = call.trace.degradations
    assert (degraded.stage, degraded.reason) == ("rank", Reason.ERROR)
    assert degraded.detail == "rank scored none of 4 candidates; the order of the stage before was kept"


async def test_a_stage_without_candidates_is_not_called(rank: RankingStage) -> None:
    call = _call()
    assert len((await rank.narrow(Standing.unranked(candidates([])), call)).candidates) == 0
    assert call.trace.runs == []


async def test_a_stage_without_time_is_skipped(rank: RankingStage) -> None:
    call = _call(seconds=0)
    after = await rank.narrow(_standing(), call)
    assert after.candidates.media_id_N.tolist() == [100, 101]
    assert [(d.stage, d.reason) for d in call.trace.degradations] == [("rank", Reason.DEADLINE)]


async def test_a_stage_that_does_not_hold_the_pinned_bundle_is_skipped(rank: RankingStage) -> None:
    call = _call(version="v2")
    await rank.narrow(_standing(), call)
    assert [d.reason for d in call.trace.degradations] == [Reason.BUNDLE_NOT_HELD]


async def test_a_stage_that_nobody_serves_is_skipped(nowhere: grpc.aio.Channel) -> None:
    call = _call(seconds=0.5)
    after = await RankingStage(PLAN, RankingClient(nowhere, "rerank")).narrow(_standing(), call)
    assert after.candidates.media_id_N.tolist() == [100, 101]
    assert [d.stage for d in call.trace.degradations] == ["rerank"]


async def test_debug_says_which_lost_stage_a_candidate_ended_at(nowhere: grpc.aio.Channel) -> None:
    call = _call(debug=True, seconds=0.5)
    await RankingStage(PLAN, RankingClient(nowhere, "rank")).narrow(_standing(), call)
    reason = "rank: lost, kept the first 2 of the stage before"
    assert call.trace.dropped == {102: reason, 103: reason}


async def test_without_sourcing_there_are_popular_media_that_the_user_has_not_seen(nowhere: grpc.aio.Channel) -> None:
    call = _call(seconds=0.5)
    found = await SourcingStage(StagePlan(keep=3, share=0.5), Retrieval([RetrievalClient(nowhere)]), POPULAR).source(
        call
    )
    assert (found.candidates.media_id_N.tolist(), found.candidates.sources) == ([12, 13, 14], (POPULAR_SOURCE,))
    assert "popular media used instead" in call.trace.degradations[0].detail


async def test_without_sourcing_nothing_of_a_blocked_account_is_shown(nowhere: grpc.aio.Channel) -> None:
    call = _call(seconds=0.5)
    blocked = {**EMPTY.relations, Relation.BLOCKED: np.array([3])}
    user = replace(call.user, contexts=replace(EMPTY, relations=blocked).context("42", NOW_MS, ""))
    stage = SourcingStage(StagePlan(keep=3, share=0.5), Retrieval([RetrievalClient(nowhere)]), POPULAR)
    assert (await stage.source(replace(call, user=user))).candidates.media_id_N.tolist() == [12, 14]


async def test_too_few_candidates_for_a_page_are_said(nowhere: grpc.aio.Channel) -> None:
    call = _call(seconds=0.5)
    await SourcingStage(StagePlan(keep=2, share=0.5), Retrieval([RetrievalClient(nowhere)]), POPULAR).source(call)
    assert [d.reason for d in call.trace.degradations][-1] is Reason.UNDER_DELIVERED


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DeadlineExceeded("rank", 0.1), Reason.DEADLINE),
        (Unavailable("rank", "gone"), Reason.UNAVAILABLE),
        (BundleNotHeld("v1", ()), Reason.BUNDLE_NOT_HELD),
        (Overloaded("too much"), Reason.ERROR),
        (StageContractViolation("rank", "score", "is nan"), Reason.ERROR),
    ],
)
def test_every_failure_has_its_reason(error: CallError, reason: Reason) -> None:
    assert reason_of(error) is reason

"""The request path over real services: what an arm changes, what is remembered, and what is said when an arm cannot be served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from valkey.asyncio import Valkey

from features.exposures import Exposure
from features.schema import Stage
from features.user_state import UserStateStore
from gateway.config import StagePlan
from gateway.diversity import DiversityConfig
from gateway.experiments.layers import Arm, Assignment, Layer
from gateway.experiments.settings import Settings
from gateway.experiments.terms import Terms
from gateway.fallback import PopularMedia
from gateway.feed import FeedItem, FeedRequest, Page, Reason
from gateway.missed import Missed
from gateway.page import PagePolicy
from gateway.pipeline import Pipeline
from gateway.random_slots import RandomSlots
from gateway.shards import Retrieval
from gateway.stages import Call, RankingStage, SourcingStage
from gateway.trace import Trace
from gateway.users import Users
from retrieval_svc.__main__ import build
from retrieval_svc.config import RetrievalConfig
from serving.channels import RankingClient, RetrievalClient
from serving.deadline import Budget
from serving.telemetry import NoTelemetry
from serving.testing import ranking_double, serve
from tests.gateway.feeds import feed_request
from tests.gateway.funnels import MediaScorer
from tests.retrieval_svc.published import publish
from tests.retrieval_svc.worlds import NOW, hand_made

TABLES = {"default": {"like": 1.0}, "reverse": {"like": -1.0}}


class RecordingUsers(Users):
    """Remembers what the pipeline asked it to remember."""

    def __init__(self, store: UserStateStore) -> None:
        super().__init__(store, timeout_s=5.0)
        self.exposures: list[Exposure] = []

    async def remember(self, request: FeedRequest, exposure: Exposure, budget: Budget, trace: Trace) -> None:
        self.exposures.append(exposure)
        await super().remember(request, exposure, budget, trace)


@dataclass
class Cascade:
    """A pipeline of real services, whose last stage values media by their ids."""

    pipeline: Pipeline
    users: RecordingUsers
    logged: list[tuple[Call, Sequence[FeedItem]]]

    async def page(self, settings: Settings, request_id: str = "r1") -> tuple[Page, Trace]:
        arms = Assignment((Layer("a", "a", 1.0, (Arm("x", 1.0, settings),)).place("42"),))
        request, trace = replace(feed_request(page_size=4), request_id=request_id, time_ms=NOW), Trace(False)
        return await self.pipeline.page(request, self.pipeline.terms.policy(arms), Budget(10), trace), trace


@pytest.fixture
async def cascade(valkey: Valkey, tmp_path: Path) -> AsyncIterator[Cascade]:
    bundle = await asyncio.to_thread(publish, tmp_path / "bundles")
    (tmp_path / "sourcing.igql").write_text("old = user.trending()\nold")
    (tmp_path / "fresh.igql").write_text("new = user.fresh(max_age=30d)\nnew")
    config = RetrievalConfig(
        bundle_root=tmp_path / "bundles", igql_file=tmp_path / "sourcing.igql", igql_directory=tmp_path
    )
    async with AsyncExitStack() as stack:
        sourcing = RetrievalClient(await stack.enter_async_context(serve(build(config, NoTelemetry()))))
        ranker = ranking_double(MediaScorer(), bundle.version, Stage.RERANK)
        rerank = RankingClient(await stack.enter_async_context(serve(ranker)), "rerank")
        users, logged = RecordingUsers(UserStateStore(valkey)), list[tuple[Call, Sequence[FeedItem]]]()
        popular = PopularMedia.from_items(hand_made())
        pipeline = Pipeline(
            users=users,
            sourcing=SourcingStage(StagePlan(keep=12, share=0.5), Retrieval([sourcing]), popular),
            rankers=[RankingStage(StagePlan(keep=12, share=0.5), rerank)],
            terms=Terms(PagePolicy(TABLES["default"], DiversityConfig(decay=1.0)), ("like",), TABLES),
            missed=Missed(hand_made(), after_ms=0, size=3),
            bundle_version=bundle.version,
            after_page=lambda call, items: logged.append((call, items)),
        )
        yield Cascade(pipeline, users, logged)


async def test_an_arm_without_settings_gets_the_page_of_everybody(cascade: Cascade) -> None:
    page, trace = await cascade.page(Settings())
    assert [item.media_id for item in page.items] == [401, 400, 302, 301]
    assert {item.source for item in page.items} == {"old"}
    assert (trace.degradations, page.arms.name) == ([], "a=x")


async def test_other_weights_give_another_order(cascade: Cascade) -> None:
    page, _ = await cascade.page(Settings("reverse"))
    assert [item.media_id for item in page.items] == [100, 101, 102, 200]


async def test_another_query_gives_other_candidates(cascade: Cascade) -> None:
    page, trace = await cascade.page(Settings(query="fresh"))
    assert {item.source for item in page.items} == {"new"}
    assert trace.degradations == []


async def test_a_query_that_retrieval_does_not_know_is_replaced_and_the_page_does_not_count(cascade: Cascade) -> None:
    page, trace = await cascade.page(Settings(query="frsh"))
    assert {item.source for item in page.items} == {"old"}
    assert [(entry.stage, entry.reason) for entry in trace.degradations] == [("retrieval", Reason.ERROR)]
    assert "is 'frsh', which is no query of this service" in trace.degradations[0].detail
    assert "the default query was used instead" in trace.degradations[0].detail
    assert (page.arms.name, page.arms.excluded) == ("a=fallback:x", True)
    assert cascade.users.exposures[0].arms == {"a": "fallback:x"}


async def test_every_page_is_exposed_once_with_what_it_showed(cascade: Cascade) -> None:
    page, _ = await cascade.page(Settings(random_slots=RandomSlots(1.0)))
    (exposure,) = cascade.users.exposures
    assert exposure.media_id_K.tolist() == [item.media_id for item in page.items]
    assert exposure.propensity_K.tolist() == [item.propensity for item in page.items]
    assert exposure.propensity_K.tolist() == pytest.approx([1 / 11, 1 / 10, 1 / 9, 1 / 8])
    assert (exposure.arms, exposure.request_id, exposure.time_ms) == ({"a": "x"}, "r1", NOW)
    assert len(cascade.logged) == 1


async def test_what_a_page_showed_is_not_shown_again(cascade: Cascade) -> None:
    first, _ = await cascade.page(Settings())
    second, _ = await cascade.page(Settings(), "r2")
    assert {item.media_id for item in first.items}.isdisjoint(item.media_id for item in second.items)

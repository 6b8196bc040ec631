"""ExploreService: a request is checked and turned into ours, the page is turned into a response. Decides nothing else."""

from __future__ import annotations

import uuid

import grpc

from gateway import paging
from gateway.clock import Clock
from gateway.config import GatewayConfig
from gateway.debug import debug_message
from gateway.experiments.choice import Choice
from gateway.feed import Degradation as DegradationRecord
from gateway.feed import FeedItem as Item
from gateway.feed import FeedRequest, Page
from gateway.measures import record
from gateway.trace import Trace
from protos.explore.v1.feed_pb2 import (
    Degradation,
    DegradationReason,
    GetFeedRequest,
    GetFeedResponse,
)
from protos.explore.v1.feed_pb2_grpc import ExploreServiceServicer
from serving import tracing
from serving.deadline import Budget
from serving.errors import InvalidArgument
from serving.telemetry import Telemetry
from serving.wire.contexts import MAX_USER_ID

MAX_SURFACE = 64
DEFAULT_SURFACE = "explore"


class ExploreServicer(ExploreServiceServicer):
    """One page per call."""

    def __init__(self, choice: Choice, config: GatewayConfig, clock: Clock, telemetry: Telemetry) -> None:
        self._choice, self._config, self._clock, self._telemetry = choice, config, clock, telemetry

    async def GetFeed(
        self, request: GetFeedRequest, context: grpc.aio.ServicerContext[GetFeedRequest, GetFeedResponse]
    ) -> GetFeedResponse:
        """The next page for a user."""
        feed_request = parse(request, self._config, self._clock())
        tracing.name_request(feed_request.request_id)
        pipeline, policy = self._choice.choose(feed_request.user_id)  # this call keeps this bundle to its end
        trace = Trace(request.debug)
        budget = Budget.of_call(context, self._config.deadline_s, reserve=self._config.page_reserve)
        page = await pipeline.page(feed_request, policy, budget, trace)
        record(page, trace, self._telemetry)
        return respond(page, feed_request, trace)


def parse(request: GetFeedRequest, config: GatewayConfig, now_ms: int) -> FeedRequest:
    """The request with its defaults filled in. Raises InvalidArgument naming the field that is wrong."""
    if not 1 <= len(request.user_id) <= MAX_USER_ID:
        raise InvalidArgument("user_id", f"must have 1 to {MAX_USER_ID} characters, got {len(request.user_id)}")
    if len(request.surface) > MAX_SURFACE:
        raise InvalidArgument("surface", f"must have at most {MAX_SURFACE} characters, got {len(request.surface)}")
    page_size = request.page_size if request.HasField("page_size") else config.page_size
    if not 1 <= page_size <= config.max_page_size:
        raise InvalidArgument("page_size", f"must lie in 1..{config.max_page_size}, got {page_size}")
    return FeedRequest(
        request_id=uuid.uuid4().hex,
        user_id=request.user_id,
        page_size=page_size,
        surface=request.surface or DEFAULT_SURFACE,
        cursor=paging.decode(request.user_id, request.page_token),
        time_ms=now_ms,
        debug=request.debug,
        preview=request.preview,
    )


def respond(page: Page, request: FeedRequest, trace: Trace) -> GetFeedResponse:
    """The response message."""
    response = GetFeedResponse(
        request_id=request.request_id,
        arm=page.arms.name,
        arms=page.arms.arms,
        arm_propensity=page.arms.propensity,
        arms_excluded=page.arms.excluded,
        bundle_version=page.bundle_version,
        degradations=[_degradation(entry) for entry in trace.degradations],
        next_page_token=page.next_page_token,
        cold_start=page.cold_start,
        debug=debug_message(trace) if request.debug else None,
    )
    for item in page.items:
        _add(item, response)
    return response


def _degradation(entry: DegradationRecord) -> Degradation:
    return Degradation(stage=entry.stage, reason=DegradationReason.Name(entry.reason), detail=entry.detail)


def _add(item: Item, response: GetFeedResponse) -> None:
    """Made in its place: a message that is put into another one is copied, with the probabilities in it."""
    message = response.items.add(
        media_id=item.media_id,
        author_id=item.author_id,
        position=item.position,
        value=item.value,
        diversity_factor=item.diversity_factor,
        source=item.source,
        source_path=item.source_path,
        seed_account_id=item.seed_account_id,
        propensity=item.propensity,
        module=item.module,
    )
    for task, probability in item.task_probability.items():
        message.task_probabilities.add(task=task, probability=probability)

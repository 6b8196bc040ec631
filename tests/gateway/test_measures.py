"""What a page and a connection leave behind in the telemetry."""

from __future__ import annotations

import math

import grpc
import numpy as np

from gateway.diversity import DiversityConfig
from gateway.experiments.layers import Arm, Assignment, Layer
from gateway.feed import Page, Reason
from gateway.measures import (
    ARMS,
    BREAKERS,
    CALLS,
    CANDIDATES,
    DEGRADED,
    ENDPOINTS,
    EXTRA,
    PAGES,
    SCORES,
    STEP,
    UNSCORED,
    connection_readings,
    record,
)
from gateway.page import PagePolicy, compose
from gateway.trace import StageRun, Trace
from serving.channels import RankingClient
from serving.telemetry import Histogram, Labels, Measure, MemoryTelemetry
from tests.gateway.feeds import feed_request, standing
from tests.serving.batches import rank_ask
from tests.serving.replicas import Replica, connected, running
from tests.serving.test_calling import refusing

Values = dict[tuple[Measure, Labels], float | Histogram]


def sizes(values: Values, measure: Measure) -> dict[Labels, int]:
    """How many values every histogram of a measure has."""
    found = {labels: value for (which, labels), value in values.items() if which is measure}
    return {labels: value.count for labels, value in found.items() if isinstance(value, Histogram)}


def recorded(page: Page, trace: Trace) -> Values:
    telemetry = MemoryTelemetry()
    record(page, trace, telemetry)
    return {(each.measure, each.labels): each.value for each in telemetry.readings()}


def test_a_page_is_counted_with_every_step_on_its_way() -> None:
    trace = Trace(False)
    with trace.step(StageRun("user_state_read")):
        trace.degrade("user_state", Reason.DEADLINE, "text of user 42")
    with trace.timed("rank", 3) as run:
        run.candidates_out = 2
    asked, found = standing([math.nan] * 3), standing([2.0], [[0.5]], ("click",))
    trace.place("rank", asked, found, 2)  # it was to keep two of three, and could score one
    items = compose(found, feed_request(page_size=2), PagePolicy({"click": 1.0}, DiversityConfig()), trace)
    arms = Assignment((Layer("look", "salt", 1.0, (Arm("plain"),)).place("42"),))
    values = recorded(Page(items, "v1", True, "", arms), trace)
    assert sizes(values, STEP) == {("user_state_read", "deadline"): 1, ("rank", "ok"): 1}
    counts = {key: value for key, value in values.items() if not isinstance(value, Histogram)}
    assert counts == {
        (CANDIDATES, ("rank", "in")): 3,
        (CANDIDATES, ("rank", "out")): 2,
        (UNSCORED, ("rank",)): 1,
        (DEGRADED, ("user_state", "deadline")): 1,
        (ARMS, ("look", "plain")): 1,
        (PAGES, ("cold_start", "yes")): 1,
    }
    assert sizes(values, SCORES) == {("rank",): 1, ("page",): 1}


def test_an_empty_page_counts_as_one() -> None:
    values = recorded(Page((), "v1", False, ""), Trace(False))
    assert values[PAGES, ("personal", "no")] == 1


def test_scores_of_any_size_have_a_bucket() -> None:
    histogram = Histogram(SCORES.bounds)
    histogram.add_all(np.array([-1e30, -1.0, 0.0, 1e-9, 1.0, 1e30]))
    assert (histogram.count, histogram.counts[0], histogram.counts[-1]) == (6, 1, 1)


async def test_a_connection_shows_its_calls_and_replicas() -> None:
    lost = Replica(refusing(grpc.StatusCode.UNAVAILABLE))
    async with running(lost, Replica()) as addresses, connected(addresses) as connection:
        for _ in range(4):
            await RankingClient(connection, "rank").rank(rank_ask([[1.0]]), 5.0)
        values = {(each.measure, each.labels): each.value for each in connection_readings(connection)}
        retries = connection.calls.counts.retries
    assert values[CALLS, ("rank",)] == 4
    assert values[EXTRA, ("rank", "retry")] == retries > 0
    assert (values[ENDPOINTS, ("rank",)], values[BREAKERS, ("rank",)]) == (2, 0)

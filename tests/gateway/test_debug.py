"""The debug field: value terms, diversity factors, cut-offs and sources, as the trace has them."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.debug import debug_message
from gateway.diversity import DiversityConfig
from gateway.feed import Reason, Standing
from gateway.page import PagePolicy, compose
from gateway.trace import Trace
from protos.explore.v1.feed_pb2 import CandidateDebug, FeedDebug
from protos.explore.v1.retrieval_pb2 import SourceReport
from serving.columns import Ranked
from tests.gateway.feeds import candidates, feed_request

WEIGHTS = {"like": 2.0, "hide": -10.0}
TASKS = ("like", "hide")
PROBABILITY_NT = np.array([[0.5, 0.0], [0.4, 0.0], [0.3, 0.01]], dtype=np.float32)


def _debug(page_size: int = 2, author: list[int] | None = None) -> FeedDebug:
    """Four candidates, of which rank keeps three."""
    trace = Trace(True)
    sourced = candidates([0.4, 0.3, 0.2, 0.1], author=author, seed=[9, 9, 0, 0])
    trace.source(sourced)
    trace.sources = [SourceReport(source="trending", proposed=9, kept=4, dropped={"seen": 5})]
    before = Standing.unranked(sourced)
    score_M = (PROBABILITY_NT @ np.array([2.0, -10.0])).astype(np.float32)
    ranked = Ranked(np.array([0, 3]), np.array([0, 1, 2]), score_M, TASKS, PROBABILITY_NT, "v1")
    with trace.timed("rank", 4) as run:
        after = before.after(ranked)
        trace.place("rank", before, after, keep=3)
        run.candidates_out = 3
    with trace.timed("diversity", 3):
        compose(after, feed_request(page_size=page_size, debug=True), PagePolicy(WEIGHTS, DiversityConfig()), trace)
    return debug_message(trace)


def _candidate(debug: FeedDebug, media_id: int) -> CandidateDebug:
    return next(candidate for candidate in debug.candidates if candidate.media_id == media_id)


def test_the_terms_are_weight_times_probability_and_sum_up_to_the_value() -> None:
    worth = _candidate(_debug(), 102).value
    assert [(t.task, t.weight) for t in worth.terms] == [("like", 2.0), ("hide", -10.0)]
    assert [t.term for t in worth.terms] == pytest.approx([0.6, -0.1])
    assert sum(t.term for t in worth.terms) == worth.value == pytest.approx(0.5)
    assert worth.stage == "rank"


def test_a_candidate_that_no_stage_predicted_tasks_for_has_no_value_rather_than_0() -> None:
    last = _candidate(_debug(), 103)
    assert (last.HasField("value"), last.HasField("diversity"), last.dropped) == (
        False,
        False,
        "rank: could not be scored",
    )


def test_the_factors_are_those_at_the_moment_of_the_pick() -> None:
    second = _candidate(_debug(author=[1, 1, 2, 3], page_size=3), 101).diversity
    assert (second.author_factor, second.seed_factor, second.factor) == (0.625, 0.625, 0.625**2)
    assert second.place == 2
    assert second.discounted == pytest.approx(0.8 * 0.625**2)


def test_the_factors_of_what_is_not_on_the_page_are_those_after_the_last_place() -> None:
    left = _candidate(_debug(author=[1, 1, 2, 3], page_size=1), 101)
    assert (left.diversity.HasField("place"), left.diversity.factor) == (False, 0.625**2)
    assert left.dropped == "diversity: others were worth more"


def test_stages_tell_their_cut_off_and_the_request_its_weights_and_sources() -> None:
    debug = _debug()
    assert [run.stage for run in debug.stages] == ["rank", "diversity"]
    assert [run.cutoff for run in debug.stages] == pytest.approx([0.5, 0.8 * 0.625])
    assert dict(debug.value_weights) == WEIGHTS
    assert dict(debug.sources[0].dropped) == {"seen": 5}


def test_a_lost_stage_is_marked_and_has_no_cut_off() -> None:
    trace = Trace(True)
    with trace.timed("rank", 2):
        trace.degrade("rank", Reason.DEADLINE, "late")
    (stage,) = debug_message(trace).stages
    assert (stage.degraded, stage.HasField("cutoff")) == (True, False)


def test_a_page_of_nothing_has_a_debug_field_too() -> None:
    trace = Trace(True)
    trace.source(candidates([]))
    compose(Standing.unranked(candidates([])), feed_request(debug=True), PagePolicy({}, DiversityConfig()), trace)
    assert debug_message(trace) == FeedDebug()

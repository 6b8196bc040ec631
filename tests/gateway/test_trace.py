"""The record of a request: placements for debug, and nothing of them without."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.diversity import Selection
from gateway.feed import Reason, Standing
from gateway.trace import Discounts, DiversityOutcome, Placement, StageRun, Trace
from serving.columns import Ranked
from tests.gateway.feeds import candidates, standing


def _after(before: Standing, rows: list[int]) -> Standing:
    score_M = np.arange(len(rows), 0, -1, dtype=np.float32)
    probability_MT = np.full((len(rows), 1), 0.5, dtype=np.float32)
    return before.after(
        Ranked(np.array([0, len(rows)]), np.array(rows, dtype=np.int64), score_M, ("like",), probability_MT, "v1")
    )


def test_a_stage_places_every_candidate_it_scored() -> None:
    trace, before = Trace(True), standing([0.0, 0.0, 0.0])
    trace.place("rank", before, _after(before, [2, 0, 1]), keep=2)
    assert trace.placements[102] == [Placement("rank", 0, 3.0, {"like": 0.5})]


def test_a_candidate_behind_the_cut_learns_its_rank() -> None:
    trace, before = Trace(True), standing([0.0, 0.0, 0.0])
    trace.place("rank", before, _after(before, [2, 0, 1]), keep=2)
    assert trace.dropped == {101: "rank: rank 3 of 3, kept 2"}


def test_the_cut_off_is_the_score_of_the_last_that_goes_on() -> None:
    trace, before = Trace(True), standing([0.0, 0.0, 0.0])
    trace.place("rank", before, _after(before, [2, 0, 1]), keep=2)
    trace.place("rerank", before, _after(before, [2, 0, 1]), keep=50)
    assert trace.cutoff == {"rank": 2.0, "rerank": 1.0}


def test_a_stage_that_scores_nothing_has_no_cut_off() -> None:
    trace, before = Trace(True), standing([0.0])
    trace.place("rank", before, _after(before, []), keep=2)
    assert trace.cutoff == {}


@pytest.mark.parametrize(("debug", "keep", "scored", "unscored"), [(False, 2, 1, 1), (False, 2, 3, 0), (True, 2, 3, 1)])
def test_what_a_stage_could_not_score_is_missing_from_its_answer(
    debug: bool, keep: int, scored: int, unscored: int
) -> None:
    trace, before = Trace(debug), standing([0.0] * 4)
    trace.place("rank", before, _after(before, list(range(scored))), keep)
    assert trace.unscored == {"rank": unscored}


def test_the_page_records_the_factors_of_those_that_are_not_on_it_too() -> None:
    trace = Trace(True)
    discounts = Discounts(np.array([2.0, -1.0]), np.array([1.0, 0.5]), np.array([1.0, 0.5]))
    trace.pick("diversity", np.array([100, 101]), Selection(np.array([0]), np.array([1.0]), np.array([1.0])), discounts)
    assert trace.diversity == {
        100: DiversityOutcome(1.0, 1.0, 2.0, 0),
        101: DiversityOutcome(0.5, 0.5, -4.0, None),
    }
    assert (trace.dropped, trace.cutoff) == ({101: "diversity: others were worth more"}, {"diversity": 2.0})


def test_where_chance_took_part_the_reason_says_so() -> None:
    trace, discounts = Trace(True), Discounts(np.array([2.0, 1.0]), np.ones(2), np.ones(2))
    drawn = Selection(np.array([1]), np.array([1.0]), np.array([0.1]))
    trace.pick("diversity", np.array([100, 101]), drawn, discounts)
    assert trace.dropped == {100: "diversity: others were worth more, or drawn by chance"}


def test_a_candidate_that_a_stage_could_not_score_says_so() -> None:
    trace, before = Trace(True), standing([0.0, 0.0])
    trace.place("prerank", before, _after(before, [1]), keep=2)
    assert trace.dropped == {100: "prerank: could not be scored"}


def test_without_debug_nothing_is_kept() -> None:
    trace, before = Trace(False), standing([0.0, 0.0])
    trace.source(candidates([1.0, 2.0]))
    trace.place("rank", before, _after(before, [0]), keep=1)
    assert (trace.placements, trace.dropped) == ({}, {})


def test_an_unscored_candidate_has_no_score_rather_than_zero() -> None:
    trace = Trace(True)
    trace.source(candidates([float("nan")]))
    assert trace.placements[100] == [Placement("retrieval", 0, None, {})]


def test_a_stage_that_raises_is_still_timed() -> None:
    trace = Trace(False)
    try:
        with trace.timed("rank", 7):
            raise RuntimeError
    except RuntimeError:
        assert [(run.stage, run.candidates_in) for run in trace.runs] == [("rank", 7)]


def test_a_step_that_degrades_the_page_has_the_reason_as_its_outcome() -> None:
    trace = Trace(False)
    trace.degrade("user_state", Reason.UNAVAILABLE, "before")
    with trace.timed("retrieval", 0):
        trace.degrade("retrieval", Reason.DEADLINE, "late")
        trace.degrade("retrieval", Reason.UNDER_DELIVERED, "few")
    with trace.step(StageRun("user_state_write")):
        pass
    assert [(run.stage, run.outcome) for run in trace.steps] == [("retrieval", "deadline"), ("user_state_write", "ok")]
    assert [run.stage for run in trace.runs] == ["retrieval"]

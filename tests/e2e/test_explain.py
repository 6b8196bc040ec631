"""Asking why: the debug field of the real stack and the command that reads it. Nothing that is asked changes the next page."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.commands.stack import clock_for
from cli.main import build
from cli.unsourced import Unsourced, why_unsourced
from gateway.diversity import NO_SEED
from protos.explore.v1.feed_pb2 import GetFeedResponse
from tests.e2e.conftest import Served

STRANGER = "who-asks-why"


@pytest.fixture(scope="module")
def explained(served: Served) -> GetFeedResponse:
    return served.page("42", debug=True, preview=True)


def _explain(served: Served, *arguments: str) -> str:
    address = served.stack.ports.address("gateway")
    command = ["--home", str(served.workspace.home), "explain", "--user", "42", "--address", address, *arguments]
    done = CliRunner().invoke(build(), command)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_preview_does_not_count_as_shown(served: Served) -> None:
    seen, again, then = (served.page(STRANGER, preview=preview) for preview in (True, True, False))
    after = served.page(STRANGER)
    shown = {item.media_id for item in then.items}
    assert shown & {item.media_id for item in seen.items}
    assert shown & {item.media_id for item in again.items}
    assert shown.isdisjoint(item.media_id for item in after.items)


def test_the_terms_of_every_value_sum_up_to_it(explained: GetFeedResponse) -> None:
    weights = dict(explained.debug.value_weights)
    valued = [candidate.value for candidate in explained.debug.candidates if candidate.HasField("value")]
    assert len(valued) == 150  # prerank predicts no tasks
    for worth in valued:
        assert sum(term.term for term in worth.terms) == pytest.approx(worth.value)
        assert all(term.term == pytest.approx(weights[term.task] * term.probability) for term in worth.terms)


def test_the_value_of_a_page_item_is_the_one_in_its_debug(explained: GetFeedResponse) -> None:
    found = {candidate.media_id: candidate for candidate in explained.debug.candidates}
    for item in explained.items:
        assert found[item.media_id].value.value == pytest.approx(item.value)
        assert found[item.media_id].diversity.factor == pytest.approx(item.diversity_factor)
        assert found[item.media_id].diversity.place == item.position


def test_factors_follow_from_what_stands_above(explained: GetFeedResponse) -> None:
    """Of all 50, recomputed from the page alone."""
    reached = [candidate for candidate in explained.debug.candidates if candidate.HasField("diversity")]
    assert len(reached) == 50
    for candidate in reached:
        rule = candidate.diversity
        above = explained.items[: rule.place] if rule.HasField("place") else explained.items
        authors = sum(item.author_id == candidate.author_id for item in above)
        seed = candidate.seed_account_id
        seeds = sum(item.seed_account_id == seed for item in above) if seed != NO_SEED else 0
        assert rule.author_factor == pytest.approx(0.75 * 0.5**authors + 0.25)
        assert rule.seed_factor == pytest.approx(0.75 * 0.5**seeds + 0.25)


def test_nothing_that_was_dropped_beats_the_cut_off_of_its_stage(explained: GetFeedResponse) -> None:
    cutoff = {run.stage: run.cutoff for run in explained.debug.stages if run.HasField("cutoff")}
    assert list(cutoff) == ["prerank", "rank", "rerank", "diversity"]
    for candidate in explained.debug.candidates:
        stage = candidate.dropped.split(":")[0]
        if stage == "diversity":
            assert candidate.diversity.discounted <= cutoff[stage] + 1e-9
        elif stage:
            assert candidate.placements[-1].stage == stage
            assert candidate.placements[-1].score <= cutoff[stage]


def test_sources_account_for_every_candidate(explained: GetFeedResponse) -> None:
    assert sum(report.kept for report in explained.debug.sources) == 500
    for report in explained.debug.sources:
        assert report.proposed == report.kept + sum(report.dropped.values())


def test_the_command_shows_the_page_and_all_candidates(served: Served) -> None:
    shown = _explain(served, "--all")
    assert "Page for user 42" in shown
    assert "All 500 candidates" in shown
    assert shown.count("on the page") == 25


def test_the_command_takes_one_item_apart(served: Served, explained: GetFeedResponse) -> None:
    top = explained.items[0]
    facts = json.loads(_explain(served, "--media", str(top.media_id), "--json"))
    assert (facts["sourced"], facts["media_id"], facts["arm"]) == (True, str(top.media_id), "default")
    assert sum(term["term"] for term in facts["value"]["terms"]) == pytest.approx(facts["value"]["value"])


def test_what_is_no_candidate_is_told_with_the_reports_of_the_sources(served: Served) -> None:
    facts = json.loads(_explain(served, "--media", "999999999", "--json"))
    assert (facts["sourced"], facts["media_id"]) == (False, "999999999")
    assert sum(source["kept"] for source in facts["sources"]) == 500


def _why(served: Served, explained: GetFeedResponse, media_id: int) -> Unsourced:
    manifest = served.workspace.bundles().manifest(explained.bundle_version)
    return why_unsourced(served.workspace, manifest.version, clock_for(manifest), "42", media_id, explained.arms)


def test_retrieval_knows_why_an_item_was_not_sourced(served: Served, explained: GetFeedResponse) -> None:
    assert not _why(served, explained, 999_999_999).in_catalogue
    events = served.dataset.events
    seen = int(events.filter(events["user_id"] == "42")["media_id"][-1])
    assert "seen" in _why(served, explained, seen).refused_by
    candidates = np.array([candidate.media_id for candidate in explained.debug.candidates])
    found = _why(served, explained, int(candidates[0]))
    assert (found.in_catalogue, found.refused_by, found.place >= 0) == (True, (), True)
    assert f"source {found.source!r} finds it" in str(found)

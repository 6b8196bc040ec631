"""What the fault benchmark counts: pages that hide a loss, pages that are late to recover, and nothing else."""

from __future__ import annotations

import pytest

from benchmarks.faults_pages import Outage, Page, figures_of

OUTAGE = Outage("rank_svc", killed_s=10.0, restarted_s=13.0, ready_s=14.0)


def page(asked_s: float, degraded: str = "", status: str = "OK", items: int = 25) -> Page:
    return Page(asked_s, 0.1, status, items if status == "OK" else 0, frozenset(degraded.split()))


def test_a_page_of_an_outage_that_names_another_stage_hides_the_loss() -> None:
    pages = [page(9.0), page(10.1, "rank"), page(11.0), page(12.0, "rerank"), page(12.95), page(14.5)]
    assert figures_of(pages, [OUTAGE])["unflagged"] == 2  # that of 12.95 ended after the restart


def test_recovery_lasts_to_the_last_page_that_lacked_something() -> None:
    pages = [page(13.5, "rank"), page(14.2, "rank"), page(14.7, status="UNAVAILABLE"), page(15.0)]
    figures = figures_of(pages, [OUTAGE])
    assert figures["recovery_s"] == pytest.approx(0.7)
    assert (figures["failed"], figures["short"], figures["degraded"]) == (1, 0, 2)


def test_a_page_that_the_next_death_interrupts_does_not_count_for_this_one() -> None:
    later = Outage("valkey", killed_s=20.0, restarted_s=21.0, ready_s=22.0)
    assert figures_of([page(19.95, "user_state")], [OUTAGE, later])["recovery_s"] == 0.0


def test_the_loss_of_one_of_two_gateways_degrades_nothing() -> None:
    lost = Outage("gateway", killed_s=10.0, restarted_s=13.0, ready_s=14.0)
    assert figures_of([page(11.0)], [lost])["unflagged"] == 0


def test_a_page_belongs_to_the_outage_before_it() -> None:
    later = Outage("valkey", killed_s=20.0, restarted_s=21.0, ready_s=22.0)
    pages = [page(1.0), page(19.0, items=24), page(20.5, "user_state"), page(30.0)]
    periods = figures_of(pages, [OUTAGE, later])["periods"]
    assert [(row["victim"], row["pages"], row["short"]) for row in periods] == [
        ("nothing yet", 1, 0),
        ("rank_svc", 1, 1),
        ("valkey", 2, 0),
    ]


def test_without_pages_there_is_no_latency() -> None:
    assert figures_of([], [OUTAGE])["pages"] == 0

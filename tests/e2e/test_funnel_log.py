"""What serving logs teaches the next student: pages are asked for, logged, and trained on."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bundles.manifest import Manifest
from cli.commands.stack import active_manifest
from cli.commands.train import train_bundle
from cli.workspace import Workspace
from tests.e2e.conftest import LOGGED_REQUESTS, FunnelLog, Served


@pytest.fixture(scope="module")
def log(funnel_log: FunnelLog) -> pl.DataFrame:
    return funnel_log.read()


def test_every_request_is_logged_whole(log: pl.DataFrame) -> None:
    requests = log.group_by("request_id").agg(
        pl.len(),
        pl.col("position").sort().drop_nulls().alias("positions"),
        pl.col("dropped_at").value_counts().alias("dropped"),
        pl.col("prerank_score", "rank_score", "rerank_score").null_count(),
    )
    assert len(requests) >= LOGGED_REQUESTS
    for request in requests.iter_rows(named=True):
        dropped = {entry["dropped_at"]: entry["count"] for entry in request["dropped"]}
        assert (request["len"], request["positions"]) == (500, list(range(25)))
        assert dropped == {"prerank": 350, "rank": 100, "diversity": 25, None: 25}
        assert request["prerank_score"] == request["rank_score"] == request["rerank_score"] == 0


def test_the_log_tells_what_debug_tells(served: Served, funnel_log: FunnelLog) -> None:
    # A page that comes while another is being logged is left out of the log.
    pages = {page.request_id: page for page in (served.page(str(user), debug=True) for user in range(42, 52))}
    logged = _wait_for(served, funnel_log.directory, pages)
    page = pages[logged["request_id"][0]]
    by_media = {row["media_id"]: row for row in logged.iter_rows(named=True)}
    assert len(by_media) == len(page.debug.candidates)
    for candidate in page.debug.candidates:
        row = by_media[candidate.media_id]
        assert (row["source"], row["author_id"]) == (candidate.source, candidate.author_id)
        assert row["retrieval_place"] == candidate.placements[0].rank
        for placement in candidate.placements[1:]:
            assert row[f"{placement.stage}_score"] == pytest.approx(placement.score, rel=1e-4, abs=1e-4)
        assert (row["dropped_at"] or "") == candidate.dropped.split(":")[0]


def _wait_for(served: Served, directory: Path, request_ids: Collection[str]) -> pl.DataFrame:
    """The rows of the first of these requests that is logged; pages for others fill the file that it is in."""
    for user in served.dataset.users["user_id"]:
        log = pl.scan_parquet(directory / "*.parquet").filter(pl.col("request_id").is_in(list(request_ids))).collect()
        if len(log):
            return log.filter(pl.col("request_id") == log["request_id"][0])
        served.page(user)
    raise AssertionError(f"none of {len(request_ids)} requests is in the log")


def test_a_student_of_the_log_ranks_as_well_as_one_of_made_slates(
    workspace: Workspace, served: Served, funnel_log: FunnelLog, tmp_path: Path
) -> None:
    made = active_manifest(workspace)
    taught = train_bundle(
        Workspace(tmp_path), workspace.current_dataset(), "tiny", None, activate=True, funnel_log=funnel_log.directory
    )
    told: dict[str, Any] = dict(taught.metrics)["slates"]  # type: ignore[assignment]
    assert (told["source"], told["bundles"], told["left_out"]) == ("funnel log", [made.version], {})
    assert told["requests"] >= LOGGED_REQUESTS
    assert made.metrics["slates"] == {"source": "generated", "requests": 120, "bundles": []}
    assert _recall(taught) == pytest.approx(_recall(made), abs=0.05)


def _recall(manifest: Manifest) -> float:
    """Of the deep ranker's best page, among what prerank lets through."""
    metrics: dict[str, Any] = dict(manifest.metrics)
    return float(metrics["funnel"]["recall_page"]["mean"])

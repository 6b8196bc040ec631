"""The funnel log behind the page: what is sampled, what is dropped, and that nothing of it reaches a page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import polars as pl
import pytest

from gateway.fallback import POPULAR_SOURCE
from gateway.funnel_files import FilesConfig, FunnelFiles, FunnelRecord
from gateway.funnel_log import FunnelLog
from gateway.funnel_pass import FunnelPass
from serving.columns import CandidateColumns
from serving.scorer import PassThroughScorer, Scorer
from serving.server import Service
from tests.gateway.feeds import candidates
from tests.gateway.funnels import FUNNEL, PAGE, call, stages
from tests.serving.doubles import GatedScorer, raising


@asynccontextmanager
async def logging_to(
    directory: Path, share: float = 1.0, roll_s: float = 300.0, requests: int = 100, **other: Scorer | Service
) -> AsyncIterator[FunnelLog]:
    """A log on real stages; closed at the end."""
    async with stages(**other) as clients:
        files = FunnelFiles(FilesConfig(directory, 10**9, requests))
        log = FunnelLog(files, FunnelPass(FUNNEL, clients, 5, 10), share, roll_s)
        try:
            yield log
        finally:
            await log.close()


def logged(directory: Path) -> pl.DataFrame:
    return pl.read_parquet(directory / "*.parquet")


def files_in(directory: Path) -> list[Path]:
    return list(directory.glob("*.parquet"))


async def test_a_page_leaves_all_its_candidates_with_what_became_of_them(tmp_path: Path) -> None:
    async with logging_to(tmp_path) as log:
        log.offer(call(), PAGE, clock_start_ms=1_000)
        await log.idle()
        assert log.note() == "funnel log: 1 requests, 0.0 MB on disk"
        counts = {reading.labels: reading.value for reading in log.readings()}
        assert counts == {("logged",): 1, ("dropped",): 0, ("failed",): 0, ("lost",): 0, (): 0}
    frame = logged(tmp_path)
    assert frame["media_id"].to_list() == [100, 101, 102, 103, 104]
    assert frame["dropped_at"].to_list() == ["diversity", None, "rank", "prerank", "prerank"]
    assert frame["position"].to_list() == [None, 25, None, None, None]
    assert frame["rerank_score"].to_list() == pytest.approx([0.2, 0.202, 0.204, None, 0.208])
    assert frame["features"].is_null().to_list() == [False, False, False, True, False]
    assert frame["clock_start"].dt.epoch("ms").unique().to_list() == [1_000]


async def test_the_share_is_kept_and_an_id_decides_once_and_for_all(tmp_path: Path) -> None:
    async with logging_to(tmp_path, share=0.1) as log:
        wanted = [log.wants(f"request-{number}") for number in range(10_000)]
        assert sum(wanted) == pytest.approx(1_000, rel=0.15)
        assert [log.wants(f"request-{number}") for number in range(10_000)] == wanted


async def test_a_request_outside_the_sample_is_neither_logged_nor_counted(tmp_path: Path) -> None:
    async with logging_to(tmp_path, share=0.0) as log:
        log.offer(call(), PAGE)
        await log.idle()
    assert (files_in(tmp_path), log.dropped, log.failed) == ([], 0, 0)


async def test_what_comes_while_another_is_logged_is_dropped_and_counted(tmp_path: Path) -> None:
    gated = GatedScorer()
    async with logging_to(tmp_path, prerank=gated) as log:
        log.offer(call("r1"), PAGE)  # returns although prerank does not answer
        await asyncio.to_thread(gated.entered.wait)
        for request_id in ("r2", "r3"):
            log.offer(call(request_id), PAGE)
        gated.gate.set()
        await log.idle()
        log.offer(call("r4"), PAGE)
        await log.idle()
        assert (log.dropped, "2 dropped because another was being logged" in log.note()) == (2, True)
    assert logged(tmp_path)["request_id"].unique(maintain_order=True).to_list() == ["r1", "r4"]


@pytest.mark.parametrize(
    "sourced",
    [candidates([]), CandidateColumns(**{**vars(candidates([1.0])), "sources": (POPULAR_SOURCE,)})],
    ids=["no candidates", "popular media"],
)
async def test_pages_that_teach_nothing_are_not_logged(tmp_path: Path, sourced: CandidateColumns) -> None:
    async with logging_to(tmp_path) as log:
        log.offer(call(sourced=sourced), PAGE)
        await log.idle()
    assert (files_in(tmp_path), log.failed) == ([], 0)


async def test_a_request_that_a_stage_does_not_judge_is_not_logged(tmp_path: Path) -> None:
    async with logging_to(tmp_path, rank=raising(ValueError("broken"))) as log:
        log.offer(call(), PAGE)
        await log.idle()
        assert "1 without an answer of every stage (rank" in log.note()
    assert (files_in(tmp_path), log.failed) == ([], 1)


async def test_a_broken_disk_is_counted_and_no_concern_of_requests(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file where the directory should be")
    async with logging_to(tmp_path / "log", requests=1) as log:
        for request_id in ("r1", "r2"):
            log.offer(call(request_id), PAGE)
            await log.idle()
        assert log.note() == "funnel log: 2 requests, 0.0 MB on disk, 2 of them refused by the disk"


async def test_without_features_there_is_nothing_to_train_on(tmp_path: Path) -> None:
    async with logging_to(tmp_path, rerank=PassThroughScorer()) as log:
        log.offer(call(), PAGE)
        await log.idle()
        assert "rerank: returns no features" in log.note()
    assert files_in(tmp_path) == []


async def test_a_bug_in_the_log_is_logged_and_the_next_request_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: FunnelFiles, record: FunnelRecord) -> None:
        raise RuntimeError("a bug")

    async with logging_to(tmp_path) as log:
        with monkeypatch.context() as patch:
            patch.setattr(FunnelFiles, "add", broken)
            log.offer(call("r1"), PAGE)
            await log.idle()
        assert (log.failed, "request not logged" in caplog.text) == (1, True)
        log.offer(call("r2"), PAGE)
        await log.idle()
    assert logged(tmp_path)["request_id"].unique().to_list() == ["r2"]


async def test_a_bug_in_writing_does_not_keep_the_gateway_from_closing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: FunnelFiles) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(FunnelFiles, "roll", broken)
    async with logging_to(tmp_path) as log:
        await log.close()
    assert "the funnel log could not be written" in caplog.text


async def test_a_file_that_is_not_full_is_written_in_time(tmp_path: Path) -> None:
    async with logging_to(tmp_path, roll_s=0.001) as log:
        for request_id in ("r1", "r2"):
            log.offer(call(request_id), PAGE)
            async with asyncio.timeout(30):
                while request_id not in [
                    path_id for path in files_in(tmp_path) for path_id in pl.read_parquet(path)["request_id"]
                ]:
                    await asyncio.sleep(0)
    assert len(files_in(tmp_path)) == 2


async def test_closing_writes_what_waits_and_gives_up_what_runs(tmp_path: Path) -> None:
    gated = GatedScorer()
    gated.gate.set()
    async with logging_to(tmp_path, prerank=gated) as log:
        log.offer(call("r1"), PAGE)
        await log.idle()
        gated.gate.clear()
        gated.entered.clear()
        log.offer(call("r2"), PAGE)
        await asyncio.to_thread(gated.entered.wait)
        await log.close()
        gated.gate.set()
        log.offer(call("r3"), PAGE)
        await log.idle()
        assert logged(tmp_path)["request_id"].unique().to_list() == ["r1"]


async def test_a_request_that_is_being_logged_is_forgotten_too(tmp_path: Path) -> None:
    async with logging_to(tmp_path) as log:
        log.offer(call(), PAGE)
        assert await log.forget("42") == 5
        assert await log.forget("42") == 0
    assert list(tmp_path.glob("*")) == []

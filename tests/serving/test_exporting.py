"""What a process shows, and that it shows nothing unless it is told to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serving.config import ServiceConfig
from serving.errors import BindError
from serving.exporting import LAG, exported, measure_lag, on_loop
from serving.metrics_server import Busy
from serving.telemetry import Histogram, MemoryTelemetry
from tests.e2e.observed import free_address, scrape

ROOT = Path(__file__).parents[2]


async def test_metrics_are_there_while_the_process_runs_and_not_after() -> None:
    address, telemetry = free_address(), MemoryTelemetry()
    telemetry.observe_stage("rank", "ok", 0.01)
    async with exported(ServiceConfig(metrics_listen=address), telemetry) as tracer:
        assert tracer is None
        text = await asyncio.to_thread(scrape, address)
    assert 'explore_stage_duration_seconds_count{outcome="ok",stage="rank"} 1' in text
    with pytest.raises(OSError):
        await asyncio.to_thread(scrape, address)


async def test_a_taken_port_ends_the_start_and_leaves_nothing_behind() -> None:
    address = free_address()
    async with exported(ServiceConfig(metrics_listen=address), MemoryTelemetry()):
        tasks = asyncio.all_tasks()
        with pytest.raises(BindError):
            async with exported(ServiceConfig(metrics_listen=address), MemoryTelemetry()):
                raise AssertionError("nothing runs")
        assert asyncio.all_tasks() == tasks


async def test_readings_are_taken_on_the_loop() -> None:
    threads: list[str] = []

    def take() -> list[object]:
        threads.append(threading.current_thread().name)
        return []

    from_thread = on_loop(asyncio.get_running_loop(), take)  # type: ignore[arg-type]
    assert await asyncio.to_thread(from_thread) == []
    assert threads == ["MainThread"]


async def test_a_stuck_loop_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.exporting._TAKE_S", 0.05)
    from_thread, errors = on_loop(asyncio.get_running_loop(), MemoryTelemetry().readings), list[Exception]()

    def ask() -> None:
        try:
            from_thread()
        except Busy as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(10)  # which keeps the loop
    assert "did not answer" in str(errors[0])


async def test_lag_is_what_the_loop_was_late_by() -> None:
    times, telemetry = iter([0.0, 0.5, 1.0, 1.05]), MemoryTelemetry()
    task = asyncio.create_task(measure_lag(telemetry, lambda: next(times), every_s=0.0))
    while len(telemetry.readings()) == 0 or telemetry.readings()[0].value.count < 2:  # type: ignore[union-attr]
        await asyncio.sleep(0)
    task.cancel()
    (reading,) = telemetry.readings()
    assert isinstance(reading.value, Histogram)
    assert (reading.measure, round(reading.value.total, 6)) == (LAG, 0.55)


def test_who_exports_nothing_loads_neither_sdk_nor_server() -> None:
    code = (
        "import asyncio, sys\n"
        "import gateway.__main__, rank_svc.__main__\n"
        "from serving.config import ServiceConfig\n"
        "from serving.exporting import exported\n"
        "from serving.telemetry import MemoryTelemetry\n"
        "async def run():\n"
        "    async with exported(ServiceConfig(), MemoryTelemetry()): pass\n"
        "asyncio.run(run())\n"
        "loaded = [name for name in sys.modules if name.split('.')[0] in ('opentelemetry', 'prometheus_client')]\n"
        "sys.exit(str(loaded) if loaded else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

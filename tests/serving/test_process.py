"""A service as a real process: environment, signals, exit codes, and its log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from bundles.store import BundleStore
from serving.channels import RankCalls
from tests.bundles.conftest import fields
from tests.serving.batches import rank_request
from tests.serving.test_server import NOT_SERVING, SERVING, watch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    os.mkfifo(tmp_path / "fifo")
    return {
        "PATH": os.environ["PATH"],
        "EXPLORE_LISTEN": "127.0.0.1:0",
        "EXPLORE_BUNDLE_ROOT": str(tmp_path / "bundles"),
        "EXPLORE_BUNDLE_RETRY_S": "0.02",
        "EXPLORE_DRAIN_S": "60",
        "EXPLORE_FIFO": str(tmp_path / "fifo"),
    }


def publish(tmp_path: Path) -> str:
    store = BundleStore(tmp_path / "bundles")
    with store.stage() as staged:
        (staged / "model").write_bytes(b"m")
        version = store.publish(staged, **fields()).version
    store.activate(version)
    return version


@asynccontextmanager
async def process(environment: dict[str, str]) -> AsyncIterator[Process]:
    command = (sys.executable, "-m", "tests.serving.slow_service")
    child = await asyncio.create_subprocess_exec(*command, env=environment, cwd=ROOT, stderr=PIPE)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def logged(child: Process, message: str) -> dict[str, Any]:
    """Reads the log up to the line that says `message`."""
    assert child.stderr is not None
    async for line in child.stderr:
        record: dict[str, Any] = json.loads(line)
        if record["message"].startswith(message):
            return record
    raise AssertionError(f"the process never logged {message!r}")


async def test_process_becomes_ready_and_drains_on_sigterm(environment: dict[str, str], tmp_path: Path) -> None:
    async with process(environment) as child:
        port = (await logged(child, "listening"))["port"]
        assert "no bundle is active" in (await logged(child, "not ready"))["message"]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            statuses = watch(channel)
            assert await anext(statuses) == NOT_SERVING
            version = publish(tmp_path)
            assert await anext(statuses) == SERVING
            call = asyncio.create_task(RankCalls(channel, "slow").rank(rank_request([[2.0]]), 30.0))
            fifo = await asyncio.to_thread(Path(environment["EXPLORE_FIFO"]).open, "w")  # open once the scorer reads
            child.send_signal(signal.SIGTERM)
            assert await anext(statuses) == NOT_SERVING
            assert not call.done()
            with fifo:
                fifo.write("1.5")
            response = await call
        assert (response.bundle_version, response.score) == (version, b"\x00\x00\x40\x40")
        telemetry = (await logged(child, "stopped"))["telemetry"]
        assert await child.wait() == 0
    assert ("/explore.v1.RankingService/Rank", "OK", 1) in [
        (*line["labels"].values(), line["count"]) for line in telemetry
    ]


async def test_second_signal_ends_the_process_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    publish(tmp_path)
    async with process(environment) as child:
        port = (await logged(child, "listening"))["port"]
        await logged(child, "ready")
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = asyncio.create_task(RankCalls(channel, "slow").rank(rank_request([[2.0]]), 30.0))
            with await asyncio.to_thread(Path(environment["EXPLORE_FIFO"]).open, "w"):
                child.send_signal(signal.SIGINT)
                await logged(child, "draining")
                child.send_signal(signal.SIGTERM)
                assert await child.wait() == 128 + signal.SIGTERM
            (failure,) = await asyncio.gather(call, return_exceptions=True)
    assert "slow is unavailable" in str(failure)


async def test_wrong_environment_ends_with_status_2_and_names_the_variable(environment: dict[str, str]) -> None:
    async with process({**environment, "EXPLORE_DRAIN_S": "soon"}) as child:
        _, stderr = await child.communicate()
    assert child.returncode == 2
    assert stderr.decode().startswith("EXPLORE_DRAIN_S='soon': Input should be a valid number")


async def test_missing_setting_is_named(environment: dict[str, str]) -> None:
    del environment["EXPLORE_FIFO"]
    async with process(environment) as child:
        _, stderr = await child.communicate()
    assert (child.returncode, stderr.decode()) == (2, "EXPLORE_FIFO is not set: Field required\n")


async def test_taken_port_ends_with_status_1(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with process({**environment, "EXPLORE_LISTEN": address}) as child:
            _, stderr = await child.communicate()
    assert child.returncode == 1
    assert f"cannot start: cannot listen on {address}: in use" in stderr.decode()


async def test_mistyped_variable_ends_with_status_2_and_a_suggestion(environment: dict[str, str]) -> None:
    async with process({**environment, "EXPLORE_DRAIN": "5"}) as child:
        _, stderr = await child.communicate()
    said = "EXPLORE_DRAIN is not known, did you mean EXPLORE_DRAIN_S?\n"
    assert (child.returncode, stderr.decode()) == (2, said)


async def test_a_taken_metrics_port_ends_with_status_1_and_one_line(environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with process({**environment, "EXPLORE_METRICS_LISTEN": address}) as child:
            _, stderr = await child.communicate()
    (line,) = [json.loads(line) for line in stderr.decode().splitlines() if "not a setting" not in line]
    assert child.returncode == 1
    assert line["message"] == (f"cannot start: cannot show metrics on {address}: in use, or no address of this machine")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("METRICS_LISTEN", "9464", "must be HOST:PORT"),
        ("OTLP_ENDPOINT", "collector:4317", "must be http://HOST:PORT or https://HOST:PORT"),
        ("OTLP_ENDPOINT", "http://collector", "must be http://HOST:PORT or https://HOST:PORT"),
        ("TRACE_SHARE", "1.5", "less than or equal to 1"),
        ("TRACE_SHARE", "nan", "less than or equal to 1"),
    ],
)
async def test_a_wrong_telemetry_setting_is_named(
    environment: dict[str, str], name: str, value: str, allowed: str
) -> None:
    async with process({**environment, f"EXPLORE_{name}": value}) as child:
        _, stderr = await child.communicate()
    assert child.returncode == 2
    assert stderr.decode().startswith(f"EXPLORE_{name}={value!r}: ")
    assert allowed in stderr.decode()
    assert len(stderr.decode().splitlines()) == 1

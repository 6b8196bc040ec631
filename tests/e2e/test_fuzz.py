"""A few hundred spoiled requests over all RPCs of the real stack; `python -m benchmarks.fuzz` sends 100,000."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzz_requests import FUZZED, Request, Rpc, all_rpcs, request
from benchmarks.fuzz_run import FINE, Findings, Numbered, channels, lives, send, send_all
from cli.commands.stack import active_manifest
from tests.e2e.conftest import Served

SEED = 7
NUMBERS = range(20, 420)


@pytest.fixture(scope="module")
def served(start_stack: Callable[..., Served]) -> Served:
    """A stack of their own: a spoiled event or relation may be one of any user."""
    return start_stack()


@pytest.fixture(scope="module")
def rpcs(served: Served) -> list[Rpc]:
    """For users who are not in the data."""
    return all_rpcs(served.stack.ports, FUZZED, active_manifest(served.workspace).as_of_ms)


async def test_no_request_brings_a_service_down_or_makes_it_fail(served: Served, rpcs: list[Rpc]) -> None:
    before, findings = lives(served.stack), Findings()
    await send_all(served.stack.ports, rpcs, Numbered(SEED, NUMBERS), findings)
    assert [f"{spoilt.path} #{spoilt.number}: {problem}" for spoilt, problem in findings.wrong] == []
    assert findings.sent == len(NUMBERS)
    assert all(life.same(before[name]) for name, life in lives(served.stack).items())
    assert {status for _, status in findings.statuses} >= {"OK", "INVALID_ARGUMENT"}
    assert {status for _, status in findings.statuses} <= {code.name for code in FINE}


def test_a_seed_gives_the_same_requests(rpcs: list[Rpc]) -> None:
    stages = [rpc for rpc in rpcs if rpc.service != "gateway"]  # events carry the time of day
    first, again, other = ([request(stages, seed, number) for number in range(50, 90)] for seed in (1, 1, 2))
    assert first == again
    assert first != other


async def test_a_saved_request_can_be_sent_again(served: Served, rpcs: list[Rpc], tmp_path: Path) -> None:
    spoilt = next(each for number in range(50, 200) if (each := request(rpcs, SEED, number)).path.endswith("GetFeed"))
    spoilt.save(tmp_path / "found" / "1.json", SEED, "INTERNAL: of course not")
    loaded = Request.load(tmp_path / "found" / "1.json")
    assert loaded == spoilt
    async with channels(served.stack.ports) as to:
        _, problem = await send(to, loaded)
    assert problem == ""

"""The stopwatches of benchmarks/cascade.py, in a process of their own: they stay where they were put."""

from __future__ import annotations

import json
import subprocess
import sys

from benchmarks.cascade_seams import COLUMNS, MESSAGES

CALL = """
import asyncio, json
from benchmarks.cascade_seams import Stopwatch, watch_services
watch = Stopwatch()
watch_services(watch)
from serving.channels import RankingClient
from tests.serving.batches import rank_ask
from tests.serving.replicas import Replica, connected, running

async def ask():
    async with running(Replica()) as address, connected(address) as connection:
        return await RankingClient(connection, "rank").rank(rank_ask([[2.0, 1.0]]), 30.0)

answer = asyncio.run(ask())
print(json.dumps({**watch.figures(), "rows": answer.row_M.tolist()}))
"""


def test_a_watched_call_is_answered_as_any_other_and_its_seams_are_seen() -> None:
    run = subprocess.run([sys.executable, "-c", CALL], capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["rows"] == [0, 1]
    assert set(seen["calls"]) == {"rank: call", "rank: in the stage"}
    assert set(seen["calls"].values()) == {1}
    assert seen["cpu_s"][COLUMNS] > 0
    assert seen["cpu_s"][MESSAGES] > 0

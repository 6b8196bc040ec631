"""Large buffers go back to the system, and modules are not looked through for garbage. In processes of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Small objects made after a large one keep the heap from shrinking, as they do in a service.
SCRIPT = """
import sys
from pathlib import Path
from serving.memory import give_back_large_buffers

def own_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))

if sys.argv[1] == "set":
    give_back_large_buffers()
kept, before = [], own_mb()
for _ in range(4):
    large = [b"x" * 10_000_000 for _ in range(3)]
    kept.append(bytes(1_000))
    del large
print(own_mb() - before)
"""


def _kept_mb(setting: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, setting], capture_output=True, text=True, check=True, timeout=60
    )
    return float(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the setting is glibc's")
def test_what_large_messages_took_is_given_back() -> None:
    assert _kept_mb("set") < 2
    assert _kept_mb("unset") > 9  # else nobody needs the setting


def test_what_is_loaded_is_not_collected_again_and_what_comes_later_is() -> None:
    script = """
import gc
from serving.memory import freeze_what_is_loaded

loaded = len(gc.get_objects())
freeze_what_is_loaded()
left = len(gc.get_objects())
class Cycle: pass
cycle = Cycle()
cycle.itself = cycle
del cycle
print(loaded > 10 * left, gc.collect() > 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "True"]

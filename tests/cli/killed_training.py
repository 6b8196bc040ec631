"""`explore train` that is killed in the middle of a step: `python -m tests.cli.killed_training HOME DATA BUDGET [STEP DONE]`.

The process sends SIGKILL to itself, so that the test knows the moment and nothing in the process gets a chance to clean up.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.commands.train import train_bundle
from cli.progress import Report, Steps
from cli.workspace import Workspace


def kill_at(place: tuple[str, int]) -> None:
    """Makes this process end once the step of that name reports that much."""
    step = Steps.step

    @contextmanager
    def watched(self: Steps, name: str) -> Iterator[Report]:
        with step(self, name) as report:

            def reported(done: int, total: int) -> None:
                report(done, total)
                if (name, done) == place:
                    os.kill(os.getpid(), signal.SIGKILL)

            yield reported

    Steps.step = watched  # type: ignore[method-assign]


if __name__ == "__main__":
    home, data, budget, *place = sys.argv[1:]
    if place:
        kill_at((place[0], int(place[1])))
    train_bundle(Workspace(Path(home)), Path(data), "tiny", None, activate=True, memory_budget=int(budget))

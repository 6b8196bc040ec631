"""Progress bars for long steps, as the callbacks that data and training code takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

Report = Callable[[int, int], None]  # done, total


class Steps:
    """Named steps of one long command, one bar each."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self.seconds: dict[str, float] = {}  # of the steps that ended well, in their order

    @contextmanager
    def step(self, name: str) -> Iterator[Report]:
        """A bar that the block moves; it is full when the block ends well."""
        task = self._bars.add_task(name, total=None)
        start_s = time.monotonic()

        def report(done: int, total: int) -> None:
            self._bars.update(task, completed=done, total=total)

        yield report
        total = self._bars.tasks[task].total or 1
        self._bars.update(task, total=total, completed=total)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - start_s

    def say(self, line: str) -> None:
        """A line above the bars."""
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def warn(self, lines: Iterable[str]) -> None:
        """Lines that nobody should miss, above the bars."""
        for line in lines:
            self.say(f"warning: {line}")


@contextmanager
def steps(console: Console | None = None) -> Iterator[Steps]:
    """Bars on stderr while the block runs; plain lines where stderr is no terminal."""
    columns = (TextColumn("{task.description:<34}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console or Console(stderr=True), refresh_per_second=4) as bars:
        yield Steps(bars)

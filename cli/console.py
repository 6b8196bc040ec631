"""Where tables are printed, and tables that fit there."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

Padding = tuple[int, int]
TIGHT, LOOSE = (0, 0), (0, 1)  # padding of cells: of these, the one that a screen has room for
_PIPE_WIDTH = 160
_ANY_WIDTH = 10_000


def wide_console() -> Console:
    """A console for wide tables: into a file or pipe they go uncut."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)


class Fitting:
    """The first of these tables that the screen has room for; the last one, cut, if none fits."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width
        wide = options.update(max_width=_ANY_WIDTH)
        yield next(
            (each for each in self._tables if console.measure(each, options=wide).maximum <= room), self._tables[-1]
        )

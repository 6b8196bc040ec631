"""Where tables are printed."""

from __future__ import annotations

from rich.console import Console

_PIPE_WIDTH = 160


def wide_console() -> Console:
    """A console for wide tables: into a file or pipe they go uncut."""
    console = Console()
    return console if console.is_terminal else Console(width=_PIPE_WIDTH)

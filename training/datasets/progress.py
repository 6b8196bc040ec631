"""How a long step tells how far it is, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]  # steps done, steps in all


def silent(done: int, total: int) -> None:
    """Shows nothing."""

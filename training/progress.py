"""Where long steps of training say how far they are. Knows no terminal: the command shows bars, tests nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Progress = Callable[[int, int], None]  # done, all


class Steps(Protocol):
    """Where progress goes: one named step after the other."""

    def step(self, name: str) -> AbstractContextManager[Progress]: ...

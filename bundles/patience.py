"""Trying again what time may mend: a store that does not answer. Knows nothing of what is tried."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from bundles.errors import RemoteUnreachable

T = TypeVar("T")

_JITTER = 0.2  # many pods began at the same moment; they should not ask at the same moment for ever
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How often to try, and how long to wait in between: `first_s`, then twice as long each time."""

    attempts: int = 3
    first_s: float = 0.5
    pause: Callable[[float], object] = time.sleep

    def __call__(self, work: Callable[[], T], of: type[Exception] = RemoteUnreachable) -> T:
        """What `work` returns; its last error if all attempts fail with one of that kind."""
        for attempt in range(1, self.attempts):
            try:
                return work()
            except of as error:
                wait_s = jittered(self.first_s * 2 ** (attempt - 1))
                _log.warning("trying again: %s", error, extra={"attempt": attempt, "in_s": round(wait_s, 2)})
                self.pause(wait_s)
        return work()


def jittered(seconds: float) -> float:
    """Up to a fifth more or less."""
    return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)

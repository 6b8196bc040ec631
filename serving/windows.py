"""Counts of what happened in the last seconds. Pure arithmetic on an injected clock."""

from __future__ import annotations

from collections import deque

from serving.deadline import Clock

_SLOTS = 10  # a window forgets in steps of a tenth of its span


class SlidingCounts:
    """How often each of a few things happened in the last `span_s` seconds; what is older is forgotten in ten steps."""

    def __init__(self, kinds: int, span_s: float, now: Clock) -> None:
        self._slot_s, self._now = span_s / _SLOTS, now
        self._slots = deque[tuple[int, list[int]]]()  # number of the slot, its counts; the oldest first
        self._totals = [0] * kinds

    def add(self, kind: int) -> None:
        """Counts one event now."""
        self._forget()
        number = self._slot()
        if not self._slots or self._slots[-1][0] != number:
            self._slots.append((number, [0] * len(self._totals)))
        self._slots[-1][1][kind] += 1
        self._totals[kind] += 1

    def total(self, kind: int) -> int:
        """Events of a kind inside the window."""
        self._forget()
        return self._totals[kind]

    def clear(self) -> None:
        """Forgets everything."""
        self._slots.clear()
        self._totals = [0] * len(self._totals)

    def _slot(self) -> int:
        return int(self._now() / self._slot_s)

    def _forget(self) -> None:
        oldest = self._slot() - _SLOTS
        while self._slots and self._slots[0][0] <= oldest:
            _, counts = self._slots.popleft()
            self._totals = [total - count for total, count in zip(self._totals, counts, strict=True)]

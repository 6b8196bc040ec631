"""The bundle versions that a process can answer from. Knows nothing of their content, nor how they get here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from serving.errors import BundleNotHeld, NotReady

T = TypeVar("T")

MAX_PINNED = 2  # versions that only their pins keep; each costs as much memory as the current one


@dataclass(frozen=True)
class Held(Generic[T]):
    """Something made of one bundle, and the version of that bundle."""

    version: str
    value: T


class Holder(Generic[T]):
    """What was made of the current bundle, of the one that was current before, and of those that somebody still needs.

    Needed are the versions named by `keep`, and for `pin_s` seconds those that a request was pinned to, MAX_PINNED at most. A call
    keeps what `held` gave it for as long as it runs, dropped or not. For one thread, that of the event loop.
    """

    def __init__(self, pin_s: float = 15.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._held: dict[str, Held[T]] = {}
        self._current = self._before = ""
        self._kept: frozenset[str] = frozenset()
        self._pinned_at_s: dict[str, float] = {}
        self._pin_s, self._clock = pin_s, clock

    def put(self, version: str, value: T) -> list[Held[T]]:
        """Makes a version the current one; what was current stays. Returns what is dropped for it."""
        self._held[version] = Held(version, value)
        return self.switch(version)

    def add(self, version: str, value: T) -> None:
        """Holds a version beside the current one; it goes with the next `keep` that does not name it."""
        self._held[version] = Held(version, value)
        self._kept |= {version}

    def switch(self, version: str) -> list[Held[T]]:
        """Makes a version that is held the current one. Returns what is dropped for it. Raises BundleNotHeld."""
        if version not in self._held:
            raise BundleNotHeld(version, self.versions())
        if version != self._current:
            self._current, self._before = version, self._current
        return self._prune()

    def keep(self, versions: Iterable[str]) -> list[Held[T]]:
        """Says which versions are needed besides the current one and the one before. Returns what is dropped: nobody needs it."""
        self._kept = frozenset(versions)
        return self._prune()

    def held(self, version: str = "") -> Held[T]:
        """The current version, or the pinned one. Raises NotReady before the first `put`, BundleNotHeld for others."""
        if not self._current:
            raise NotReady("no bundle is loaded yet")
        found = self._held.get(version or self._current)
        if found is None:
            raise BundleNotHeld(version, self.versions())
        if version:
            self._pinned_at_s[version] = self._clock()
        return found

    def peek(self, version: str) -> Held[T] | None:
        """What is held of a version, for those who look and answer nothing from it: nothing is pinned by that."""
        return self._held.get(version)

    def pin(self, versions: Iterable[str]) -> None:
        """Somebody is going to ask for these; those that are not held are passed over."""
        now_s = self._clock()
        self._pinned_at_s.update({version: now_s for version in versions if version in self._held})

    def versions(self) -> list[str]:
        """The versions held, current first, then the one before."""
        first = [version for version in (self._current, self._before) if version in self._held]
        return [*first, *(version for version in self._held if version not in first)]

    def _prune(self) -> list[Held[T]]:
        needed = {self._current, self._before, *self._kept}
        since_s = self._clock() - self._pin_s
        pinned = [version for version, at_s in self._pinned_at_s.items() if at_s >= since_s and version not in needed]
        needed.update(sorted(pinned, key=self._pinned_at_s.__getitem__)[-MAX_PINNED:])
        dropped = [held for version, held in self._held.items() if version not in needed]
        self._held = {version: held for version, held in self._held.items() if version in needed}
        self._pinned_at_s = {version: at_s for version, at_s in self._pinned_at_s.items() if version in self._held}
        return dropped

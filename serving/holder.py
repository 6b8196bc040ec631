"""The bundle versions that a process can answer from: the current one and the one before. Knows nothing of their content."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from bundles.bundle import Bundle
from bundles.store import BundleStore
from serving.errors import BundleNotHeld, NotReady

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Held(Generic[T]):
    """Something made of one bundle, and the version of that bundle."""

    version: str
    value: T


class Holder(Generic[T]):
    """What was made of the current and the previous bundle. A call keeps what `held` gave it for as long as it runs."""

    def __init__(self) -> None:
        self._held: tuple[Held[T], ...] = ()  # current first

    def put(self, version: str, value: T) -> None:
        """Makes a version the current one; what was current stays for the requests that pin it."""
        before = [held for held in self._held if held.version != version]
        self._held = (Held(version, value), *before[:1])

    def held(self, version: str = "") -> Held[T]:
        """The current version, or the pinned one. Raises NotReady before the first `put`, BundleNotHeld for others."""
        if not self._held:
            raise NotReady("no bundle is loaded yet")
        for held in self._held:
            if version in {"", held.version}:
                return held
        raise BundleNotHeld(version, self.versions())

    def versions(self) -> list[str]:
        """The versions held, current first."""
        return [held.version for held in self._held]


async def load_current(store: BundleStore, fingerprint: str, make: Callable[[Bundle], T], holder: Holder[T]) -> None:
    """Verifies the active bundle, makes a value of it in a thread and puts it.

    `make` also warms up: what it returns has computed once. Raises BundleError, ModelUnreadable or what `make` raises; the
    holder then keeps what it has.
    """

    def build() -> tuple[str, T]:
        bundle = store.open_current(fingerprint)
        return bundle.version, make(bundle)

    version, value = await asyncio.to_thread(build)
    holder.put(version, value)
    _log.info("bundle loaded", extra={"version": version})

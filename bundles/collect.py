"""Removes versions that nobody needs any more, from a local root or a remote store, without taking any from under a reader.

Never removed are the active version, the one before, those that are held, and the newest N. Any other is first noted as unused,
and removed by a run that comes at least `grace_s` later and still finds it so. A reader that began to fetch a version while it was
needed thus has `grace_s` to finish, without having to write a lease: pods may only read. Choose it longer than the longest fetch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bundles import disk
from bundles.errors import HoldRefused
from bundles.remote import UNUSED_NAME, RemoteStore
from bundles.store import BundleStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rules:
    """`keep`: the newest so many versions stay, needed or not. `grace_s`: how long others stay after they were found unused."""

    keep: int
    grace_s: float


@dataclass(frozen=True)
class Collected:
    """Versions that were removed (or would be), those that will be and in how many seconds, and those that stay."""

    removed: tuple[str, ...]
    waiting: dict[str, float]
    kept: tuple[str, ...]


class Shelf(Protocol):
    """A place with versions."""

    def versions(self) -> dict[str, bool]:
        """All versions, oldest first, and whether each is whole."""

    def needed(self) -> Collection[str]:
        """Versions that readers are told to hold. Raises BundleMissing if there are none: nothing is removed then."""

    def unused_since_ms(self, version: str) -> int | None:
        """What `mark_unused` noted."""

    def mark_unused(self, version: str, now_ms: int) -> None:
        """Notes that nobody needs a version."""

    def unmark(self, version: str) -> None:
        """Takes that back."""

    def remove(self, version: str) -> None:
        """Deletes a version, or what there is of it."""


def collect(shelf: Shelf, rules: Rules, dry_run: bool = False, now_ms: int | None = None) -> Collected:
    """One run. `dry_run` changes nothing, and tells what a run would do."""
    now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    needed, versions = set(shelf.needed()), shelf.versions()
    whole = [version for version, is_whole in versions.items() if is_whole]
    staying = needed | set(whole[-rules.keep :] if rules.keep else [])
    removed, waiting = [], {}
    for version in versions:
        since_ms = shelf.unused_since_ms(version)
        if version in staying:
            if since_ms is not None and not dry_run:
                shelf.unmark(version)
            continue
        if since_ms is None:
            since_ms = now_ms
            if not dry_run:
                shelf.mark_unused(version, now_ms)
        left_s = rules.grace_s - (now_ms - since_ms) / 1000
        if left_s > 0:
            waiting[version] = left_s
        elif dry_run or _remove(shelf, version):
            removed.append(version)
    return Collected(tuple(removed), waiting, tuple(version for version in versions if version in staying))


def _remove(shelf: Shelf, version: str) -> bool:
    """Looks once more: somebody may have activated it, or begun to push it again, which takes the mark away."""
    if version in shelf.needed() or shelf.unused_since_ms(version) is None:
        return False
    try:
        shelf.remove(version)
    except HoldRefused:  # activated between the look and the removal
        return False
    _log.info("version removed", extra={"version": version})
    return True


class LocalShelf:
    """The versions below a local root, and fetches that were given up."""

    def __init__(self, store: BundleStore) -> None:
        self._store = store

    def versions(self) -> dict[str, bool]:
        """Whole are all but the fetches."""
        found = {**dict.fromkeys(self._store.abandoned(), False), **dict.fromkeys(self._store.versions(), True)}
        return dict(sorted(found.items()))

    def needed(self) -> Collection[str]:
        """What the pointer and the list of held versions name."""
        return [self._store.active_version(), *self._store.pointer(), *self._store.also()]

    def unused_since_ms(self, version: str) -> int | None:
        """From the file that `mark_unused` wrote."""
        try:
            return int(self._mark(version).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None

    def mark_unused(self, version: str, now_ms: int) -> None:
        """Writes a file."""
        self._mark(version).parent.mkdir(exist_ok=True)
        disk.swap_file(self._mark(version), f"{now_ms}\n")

    def unmark(self, version: str) -> None:
        """Removes the file."""
        self._mark(version).unlink(missing_ok=True)

    def remove(self, version: str) -> None:
        """Maps that processes have of its files stay valid until they let go."""
        self._store.abandon(version)
        if version in self._store.versions():
            self._store.remove(version)
        self.unmark(version)

    def _mark(self, version: str) -> Path:
        return self._store.root / UNUSED_NAME / version


class RemoteShelf:
    """The versions behind a URL, and what pushes left that did not end."""

    def __init__(self, remote: RemoteStore) -> None:
        self._remote = remote
        self.versions, self.remove = remote.versions, remote.remove
        self.unused_since_ms, self.mark_unused, self.unmark = remote.unused_since_ms, remote.mark_unused, remote.unmark

    def needed(self) -> Collection[str]:
        """What the pointer and the list of held versions name."""
        return self._remote.wanted().all()

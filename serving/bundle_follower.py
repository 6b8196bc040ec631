"""Keeps what a process serves from in step with the bundle store, while calls go on: look, verify, load, warm up, switch, drop.

A bundle that cannot serve here is refused by name, and not tried again until its files, or the settings that it was refused for,
change. What is held serves on. Knows neither gRPC nor what is made of a bundle.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from bundles import disk
from bundles.bundle import Bundle
from bundles.errors import BundleError, BundleMissing
from bundles.store import BundleStore
from serving.errors import BundleRefused, StartupError
from serving.holder import Held, Holder

T = TypeVar("T")

_log = logging.getLogger(__name__)
_LEAST_PAUSE_S = 0.05  # between two looks, however often somebody asks for one
_START_POLL_S = 0.2  # while a process waits for others before it is ready
_BACKGROUND = 10  # niceness of verifying: requests come first
_Stamp = tuple[Any, ...]


@dataclass(frozen=True)
class Source:
    """Where bundles come from. `settings` are files that people write and that a bundle may be refused for.

    `parts`: the files and folders of a bundle that the process reads, and has verified; None means all.
    """

    store: BundleStore
    fingerprint: str
    settings: tuple[Path, ...] = ()
    parts: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Lack:
    """Who keeps a version from serving: those that answer and do not hold it, and those that do not answer."""

    without: tuple[str, ...] = ()
    away: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.without or self.away)

    def __str__(self) -> str:
        return ", ".join([*self.without, *(f"{name} (does not answer)" for name in self.away)])


class Gate(Protocol):
    """Whom a process waits for before it serves from a version. `patience_s`: for how long it waits for those that are away."""

    patience_s: float

    async def look(self, pinned: Sequence[str]) -> None:
        """Asks everybody what they hold, and tells them what this process pins."""

    def lack(self, version: str) -> Lack:
        """What the last look says of a version."""


class NoGate:
    """A process that waits for nobody."""

    patience_s = 0.0

    async def look(self, pinned: Sequence[str]) -> None:
        """There is nobody to ask."""

    def lack(self, version: str) -> Lack:
        """Nobody lacks anything."""
        return Lack()


@dataclass(frozen=True)
class _Wanted:
    """What the store asks its services to hold: the active version, the one before, and those held besides."""

    pointer: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def current(self) -> str:
        return next(iter(self.pointer), "")

    @property
    def others(self) -> list[str]:
        return [version for version in dict.fromkeys((*self.pointer, *self.also)) if version != self.current]

    def all(self) -> list[str]:
        return [self.current, *self.others]


@dataclass(frozen=True)
class _Refusal:
    stamp: _Stamp
    problem: str


class BundleFollower(Generic[T]):
    """`make` turns a verified bundle into what serves, warmed up; it runs in a thread."""

    def __init__(
        self,
        source: Source,
        make: Callable[[Bundle], T],
        holder: Holder[T],
        poll_s: float,
        gate: Gate | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._make, self._holder = source, make, holder
        self._poll_s, self._gate, self._clock = poll_s, gate or NoGate(), clock
        self._seen: _Stamp | None = None  # of the pointer that `_wanted` was read from
        self._wanted = _Wanted()
        self._made: dict[str, T] = {}  # verified and warm, but not served from yet
        self._refused: dict[str, _Refusal] = {}
        self._waits_since_s: dict[str, float] = {}
        self._unreadable = ""
        self._hurry = asyncio.Event()

    async def load(self) -> None:
        """Returns once the process can serve: from the active version, or from the one before if the active one is refused.

        Holds all that the store asks for by then, so that nobody's pinned request meets a process that only begins. Waits until
        those behind the gate hold the version too, but not longer than its patience. Raises BundleError, BundleRefused or OSError.
        """
        await self._read_pointer()
        current = self._wanted.current or await asyncio.to_thread(self._source.store.active_version)
        await self._make_missing()
        candidates = [version for version in self._wanted.pointer if version in self._made]
        if not candidates:
            raise BundleRefused(current, self._refused[current].problem)
        version = await self._first(candidates)
        self._holder.put(version, self._made.pop(version))
        _log.info("bundle serves", extra={"version": version})
        await self._admit_others()

    async def follow(self) -> None:
        """Looks at the store for ever, and does what it asks for. Whatever goes wrong is logged and noted, and tried again."""
        while True:
            await self._pause()
            try:
                await self.step()
            except Exception:
                _log.exception("looking for bundles failed")

    async def step(self) -> None:
        """One look at the store, and everything that follows from it."""
        try:
            await self._read_pointer()
        except (BundleError, OSError) as error:
            self._seen = None
            self._complain(str(error))
        await self._make_missing()
        await self._gate.look(self._holder.versions()[:1])
        await self._admit_current()
        await self._admit_others()

    def look_again(self) -> None:
        """Looks at once instead of at the next poll: a request has met somebody who does not hold its version."""
        self._hurry.set()

    def refused(self) -> list[str]:
        """Versions that the store asks for and that cannot serve here."""
        return list(self._refused)

    def note(self) -> str:
        """What people should know: who is refused and why, who is waited for. Empty if all is as the store asks."""
        serving = next(iter(self._holder.versions()), "")
        notes = [self._unreadable] if self._unreadable else []
        notes += [
            f"bundle {version} is refused, {serving} goes on: {refusal.problem}"
            for version, refusal in self._refused.items()
        ]
        notes += [
            f"bundle {version} is loaded and waits for {self._gate.lack(version)}" for version in self._waits_since_s
        ]
        if serving and (lack := self._gate.lack(serving)).without:
            notes.append(f"bundle {serving} serves, but is not held by {', '.join(lack.without)}")
        return "; ".join(notes)

    async def _pause(self) -> None:
        pause_s = min(_LEAST_PAUSE_S, self._poll_s)
        await asyncio.sleep(pause_s)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), self._poll_s - pause_s)
        self._hurry.clear()

    async def _read_pointer(self) -> None:
        """In a thread: the store may lie on a network volume, where even a `stat` can take long."""
        stamp = await asyncio.to_thread(self._source.store.stamp)
        if stamp != self._seen:
            found, problem = await asyncio.to_thread(self._read_wanted)
            if self._wanted.current and not found.current:  # a volume that is away must not make us drop anything
                raise BundleMissing(f"no bundle is active in {self._source.store.root} any more")
            self._wanted = found
            self._complain(problem)
            self._seen = stamp  # of before reading: a change in between is seen as one
            wanted = self._wanted.all()
            self._made = {version: made for version, made in self._made.items() if version in wanted}
            self._refused = {version: refusal for version, refusal in self._refused.items() if version in wanted}
            self._waits_since_s = {version: at_s for version, at_s in self._waits_since_s.items() if version in wanted}

    def _read_wanted(self) -> tuple[_Wanted, str]:
        """Also what is wrong with the list of further versions: it must not keep anybody from the active one."""
        store = self._source.store
        pointer = tuple(store.pointer())
        try:
            return _Wanted(pointer, tuple(store.also())), ""
        except BundleError as error:
            return _Wanted(pointer), str(error)

    async def _make_missing(self) -> None:
        held = {"", *self._holder.versions(), *self._made}
        for version in [each for each in self._wanted.all() if each not in held]:
            stamp = await asyncio.to_thread(self._stamp, version)
            if version in self._refused and self._refused[version].stamp == stamp:
                continue
            try:
                self._made[version] = await self._opened(version)
            except Exception as error:  # whatever a bundle makes go wrong, what is held must go on
                self._refuse(version, stamp, error)
            else:
                self._refused.pop(version, None)
                _log.info("bundle loaded", extra={"version": version})

    async def _opened(self, version: str) -> T:
        # A thread of its own, as its low priority cannot be taken back, and what `make` starts would inherit it.
        executor = ThreadPoolExecutor(1, "verify", initializer=_step_back)
        try:
            verify = partial(self._source.store.open, version, self._source.fingerprint, self._source.parts)
            bundle = await asyncio.get_running_loop().run_in_executor(executor, verify)
        finally:
            executor.shutdown(wait=False)
        return await asyncio.to_thread(self._make, bundle)

    def _stamp(self, version: str) -> _Stamp:
        return (self._source.store.files_stamp(version), *(disk.stamp(path) for path in self._source.settings))

    def _refuse(self, version: str, stamp: _Stamp, error: Exception) -> None:
        if isinstance(error, BundleError | StartupError | OSError):
            problem = str(error).removeprefix(f"bundle {version}: ")
            _log.error("bundle refused: %s", error, extra={"version": version})
        else:
            problem = f"{type(error).__name__}, see the log"
            _log.error("bundle refused", extra={"version": version}, exc_info=error)
        self._refused[version] = _Refusal(stamp, problem)

    def _complain(self, problem: str) -> None:
        if problem and problem != self._unreadable:
            _log.error("what to serve from cannot be read, what is held goes on: %s", problem)
        self._unreadable = problem

    async def _first(self, candidates: Sequence[str]) -> str:
        """The first version that everybody holds; when patience ends, the first that all who answer hold, or just the first."""
        deadline_s = self._clock() + self._gate.patience_s
        while True:
            await self._gate.look(candidates)
            lacks = {version: self._gate.lack(version) for version in candidates}
            if version := next((version for version in candidates if not lacks[version]), ""):
                return version
            if self._clock() >= deadline_s:
                break
            await asyncio.sleep(min(_START_POLL_S, self._poll_s))
        version = next((version for version in candidates if not lacks[version].without), candidates[0])
        _log.warning(
            "bundle serves although not everybody holds it", extra={"version": version, "lack": str(lacks[version])}
        )
        return version

    async def _admit_current(self) -> None:
        version = self._wanted.current
        if version in {"", *self._holder.versions()[:1]} or version in self._refused or not self._may_serve(version):
            return
        made = version in self._made
        dropped = self._holder.put(version, self._made.pop(version)) if made else self._holder.switch(version)
        _log.info("bundle switched", extra={"version": version})
        await self._release(dropped)

    async def _admit_others(self) -> None:
        for version in [each for each in self._wanted.others if each in self._made and self._may_serve(each)]:
            self._holder.add(version, self._made.pop(version))
        await self._release(self._holder.keep(self._wanted.all()))

    def _may_serve(self, version: str) -> bool:
        """Those who are away are waited for at first; later a dead process must not keep everybody from a new bundle."""
        lack = self._gate.lack(version)
        since_s = self._waits_since_s.setdefault(version, self._clock()) if lack else 0.0
        if lack.without or (lack.away and self._clock() - since_s < self._gate.patience_s):
            return False
        self._waits_since_s.pop(version, None)
        return True

    async def _release(self, dropped: list[Held[T]]) -> None:
        """In a thread: to take down sessions and maps can take as long as a request."""
        if dropped:
            _log.info("bundle dropped", extra={"versions": [held.version for held in dropped]})
            await asyncio.to_thread(dropped.clear)


def _step_back() -> None:
    with suppress(OSError):  # where threads have no priority of their own, verifying competes with the requests
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BACKGROUND)

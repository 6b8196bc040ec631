"""Brings what a remote store asks services to hold below a local root: downloads, verifies, publishes, and then moves the pointer.

The process may die at any point: the local root has whole versions and a pointer to them, and `.fetch-<version>` with what is
finished, where the next fetch goes on. Nothing is removed here (`collect.py` does that): what serves goes on, whatever goes wrong.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bundles import disk
from bundles.bundle import parse_manifest
from bundles.errors import BundleCorrupt, BundleError, BundleMissing, DiskFull, DownloadCorrupt
from bundles.manifest import FileEntry, Manifest
from bundles.patience import Patience, jittered
from bundles.remote import RemoteStore, Wanted
from bundles.store import BundleStore

_PART_PREFIX = ".part-"  # with the sha256 that the whole file will have
_HASH_CHUNK = 1 << 20
_FIRST_S, _LONGEST_S = 10.0, 300.0  # between two attempts to get a version besides the active one

_log = logging.getLogger(__name__)


@dataclass
class Bytes:
    """Where the bytes of one version came from."""

    downloaded: int = 0
    linked: int = 0  # another local version has the same file
    resumed: int = 0  # an earlier fetch had finished them


@dataclass(frozen=True)
class Fetched:
    """What one look at the remote store led to. `missing`: versions besides the active one that cannot be had, and why."""

    wanted: Wanted
    moved: bool  # the local pointer, or the list of held versions, is another one now
    versions: dict[str, Bytes] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Later:
    """A version besides the active one that could not be had, and when to try again: not at every look."""

    problem: str
    at_s: float
    pause_s: float


class Fetcher:
    """From one remote store into one local one."""

    def __init__(
        self,
        remote: RemoteStore,
        store: BundleStore,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._remote, self._store, self._patience, self._clock = remote, store, patience or Patience(), clock
        self._later: dict[str, _Later] = {}
        self._sound: dict[str, Any] = {}  # versions that were found whole, and how their files looked then

    def step(self) -> Fetched:
        """One look at the remote store, and all that follows from it.

        Raises BundleError if the active version cannot be had; the pointer stays as it was. Others that cannot be had are logged,
        and tried again by a later look.
        """
        wanted = self._patience(self._remote.wanted)
        versions: dict[str, Bytes] = {}
        missing: dict[str, str] = {}
        self._later = {version: later for version, later in self._later.items() if version in wanted.all()[1:]}
        for version in wanted.all():
            if version in self._later and self._clock() < self._later[version].at_s:
                missing[version] = self._later[version].problem
                continue
            try:
                with _room_for(version, self._store.root):
                    fetched = self._have(version)
            except BundleError as error:
                if version == wanted.current:
                    raise
                missing[version] = str(error)
                self._put_off(version, str(error))
            else:
                self._later.pop(version, None)
                if fetched is not None:
                    versions[version] = fetched
        before = self._store.stamp()
        self._point(wanted, missing)
        return Fetched(wanted, self._store.stamp() != before, versions, missing)

    def _put_off(self, version: str, problem: str) -> None:
        """Twice as long each time: whoever waits for a new active version must not wait for this one."""
        pause_s = min(2 * self._later[version].pause_s, _LONGEST_S) if version in self._later else _FIRST_S
        self._later[version] = _Later(problem, self._clock() + jittered(pause_s), pause_s)
        extra = {"version": version, "in_s": round(pause_s)}
        _log.error("goes on without a version, to be tried again: %s", problem, extra=extra)

    def _point(self, wanted: Wanted, missing: dict[str, str]) -> None:
        try:
            here = [version for version in self._store.pointer() if self._is_whole(version)]
        except BundleError:
            here = []
        # Where the remote store names none before it, the way back leads to what was active here.
        before = [version for version in (*wanted.pointer[1:], *here) if version not in {wanted.current, *missing}]
        also = [version for version in wanted.also if version not in missing]
        self._store.point([wanted.current, *before[:1]], also)

    def _have(self, version: str) -> Bytes | None:
        """Makes a version be here and whole. What had to be fetched, None if nothing."""
        stamp = self._store.files_stamp(version)
        if stamp and self._sound.get(version) == stamp:
            return None
        fetched = None
        if not self._is_whole(version):
            fetched = self._fetch(version)
        self._sound[version] = self._store.files_stamp(version)
        return fetched

    def _is_whole(self, version: str) -> bool:
        if version not in self._store.versions():
            return False
        try:
            self._store.open(version, None)
        except BundleCorrupt as error:
            _log.error("a version is damaged here and fetched again: %s", error, extra={"version": version})
            return False
        return True

    def _fetch(self, version: str) -> Bytes:
        content, manifest = self._patience(lambda: self._manifest(version))
        counts = Bytes()
        with self._store.resume(version) as partial:
            _remove_strays(partial, manifest)
            lacking = self._take_what_is_here(partial, manifest, counts)
            parts = [partial / f"{_PART_PREFIX}{entry.sha256}" for entry in lacking.values()]
            needed = sum(entry.size for entry in lacking.values()) - sum(p.stat().st_size for p in parts if p.exists())
            if (free := shutil.disk_usage(partial).free) < needed:
                raise DiskFull(f"{self._store.root}: bundle {version} needs {needed:,} bytes more, {free:,} are free")
            for number, (relative, entry) in enumerate(lacking.items(), 1):
                self._download(version, relative, entry, partial)
                counts.downloaded += entry.size
                done = {"version": version, "file": relative, "bytes": entry.size, "of": f"{number}/{len(lacking)}"}
                _log.info("downloaded", extra=done)
            self._store.adopt(partial, manifest, content)
        _log.info("version fetched", extra={"version": version, **vars(counts)})
        return counts

    def _manifest(self, version: str) -> tuple[bytes, Manifest]:
        content = self._remote.manifest_bytes(version)
        if content is None:
            raise BundleMissing(f"{self._remote.url}: bundle {version} is not there, or not wholly; push it again")
        return content, parse_manifest(version, content)

    def _take_what_is_here(self, partial: Path, manifest: Manifest, counts: Bytes) -> dict[str, FileEntry]:
        """Keeps finished files of an earlier fetch, and links those that another version has. Returns what must be downloaded."""
        known = self._files_here()
        lacking = {}
        for relative, entry in manifest.files.items():
            target = partial / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                if disk.sha256(target) == entry.sha256:
                    counts.resumed += entry.size
                    continue
                target.unlink()
            source = known.get(entry.sha256)
            if source is not None and _link(source, target, entry):
                counts.linked += entry.size
            else:
                lacking[relative] = entry
        return lacking

    def _files_here(self) -> dict[str, Path]:
        """The files of all local versions by checksum."""
        known = {}
        for version in self._store.versions():
            try:
                manifest = self._store.manifest(version)
            except BundleError:  # it gives nothing away, and whoever serves it will complain
                continue
            for relative, entry in manifest.files.items():
                known[entry.sha256] = self._store.root / version / relative
        return known

    def _download(self, version: str, relative: str, entry: FileEntry, partial: Path) -> None:
        part = partial / f"{_PART_PREFIX}{entry.sha256}"

        def attempt() -> None:
            self._patience(lambda: self._stream(version, relative, entry, part))

        self._patience(attempt, of=DownloadCorrupt)
        os.replace(part, partial / relative)

    def _stream(self, version: str, relative: str, entry: FileEntry, part: Path) -> None:
        """Goes on where an earlier attempt ended. Raises DownloadCorrupt, and then begins anew the next time."""
        digest = hashlib.sha256()
        with part.open("a+b") as file:
            if file.tell() > entry.size:
                file.truncate(0)
            file.seek(0)
            while piece := file.read(_HASH_CHUNK):
                digest.update(piece)
            if (offset := file.tell()) < entry.size:
                for piece in self._remote.read(version, relative, offset):
                    digest.update(piece)
                    file.write(piece)
        if digest.hexdigest() != entry.sha256:
            part.unlink()
            raise DownloadCorrupt(version, relative, entry.sha256, digest.hexdigest())


@contextmanager
def _room_for(version: str, root: Path) -> Iterator[None]:
    """Says what an error of the local disk means."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFull(f"{root}: no room for bundle {version}: {error.strerror}") from error
        raise BundleError(f"{root}: bundle {version} cannot be written: {error}") from error


def _remove_strays(partial: Path, manifest: Manifest) -> None:
    parts = {f"{_PART_PREFIX}{entry.sha256}" for entry in manifest.files.values()}
    for relative in disk.regular_files(partial) - manifest.files.keys() - parts:
        (partial / relative).unlink()


def _link(source: Path, target: Path, entry: FileEntry) -> bool:
    """Gives a file that is here a second name, if it still is what it was published as."""
    try:
        if source.stat().st_size != entry.size or disk.sha256(source) != entry.sha256:
            return False
        os.link(source, target)
    except OSError as error:  # gone meanwhile, or a disk without links: then it is downloaded
        _log.debug("%s is not linked: %s", source, error)
        return False
    return True

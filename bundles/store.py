"""A directory of bundles: publish, verify, open, and flip the pointer. Knows files, not what is in them.

Layout: `<root>/<version>/` (read-only), `<root>/CURRENT` (the active version and below it the one before), `<root>/ALSO` (versions
that services hold besides, one a line), `<root>/.stage-*` and `<root>/.fetch-*` for what is still being written, and
`<root>/.verified/` (whose checksums were right, `verified.py`). A crash at any point leaves no version or a whole one.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Unpack

from pydantic import ValidationError

from bundles import disk, verified
from bundles.bundle import HASH_DIGITS, VERSION, Bundle, first_problem, read_manifest, verify_files, versions_in
from bundles.errors import BundleCorrupt, BundleMissing, HoldRefused, SchemaMismatch, StageRefused
from bundles.manifest import MANIFEST_NAME, FileEntry, Manifest, ManifestFields
from bundles.verified import Verified, look

POINTER_NAME = "CURRENT"
ALSO_NAME = "ALSO"
_AGED_S = 60  # files of a version look older than it by so much: then `verified.py` believes their times from the start
MAX_ALSO = 4  # every service holds all of them in memory
STAGE_PREFIX = ".stage-"
PARTIAL_PREFIX = ".fetch-"  # with the version; unlike a stage it outlives its process, so that a fetch can go on
GONE_PREFIX = ".gone-"  # a version on its way out

Progress = Callable[[str, int], None]  # relative path and size in bytes of a file that has been checksummed


class BundleStore:
    """The bundles below one root directory. Several processes may use one root at the same time."""

    def __init__(self, root: Path, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self.root = root.absolute()
        self._now_ms = now_ms

    @contextmanager
    def stage(self) -> Iterator[Path]:
        """An empty directory to write files into, then to `publish`. It goes when the block ends without publishing."""
        self.root.mkdir(parents=True, exist_ok=True)
        with disk.exclusive(self.root):  # nobody cleans up between the creation of the directory and its lock
            self._remove_dead_stages()
            staged = Path(tempfile.mkdtemp(prefix=STAGE_PREFIX, dir=self.root))
            lock = disk.try_lock(staged)
        try:
            yield staged
        finally:
            disk.remove_tree(staged)
            if lock is not None:
                os.close(lock)

    def publish(self, staged: Path, *, progress: Progress | None = None, **fields: Unpack[ManifestFields]) -> Manifest:
        """Turns a staged directory into an immutable version; it is not active yet. Raises StageRefused."""
        if staged.parent != self.root or not staged.name.startswith(STAGE_PREFIX):
            raise StageRefused(f"{staged} is no stage of {self.root}; write into the directory that stage() gives")
        files = _checksum_all(staged, progress)
        manifest = _complete(fields, files, self._now_ms())
        target = self.root / manifest.version
        if target.exists():
            raise StageRefused(f"bundle {manifest.version} exists already, with the same content")
        (staged / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
        self._seal_as(target, staged, manifest)
        return manifest

    @contextmanager
    def resume(self, version: str) -> Iterator[Path]:
        """A directory for the files of a version that comes from elsewhere, to be given to `adopt`; what is not adopted stays.

        Raises StageRefused while another process fills it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        partial = self.root / f"{PARTIAL_PREFIX}{version}"
        with disk.exclusive(self.root):
            partial.mkdir(exist_ok=True)
            lock = disk.try_lock(partial)
            if lock is not None:
                disk.unseal(partial)  # a process that was killed may have come as far as that
        if lock is None:
            raise StageRefused(f"another process is fetching bundle {version} into {self.root}")
        try:
            yield partial
        finally:
            os.close(lock)

    def adopt(self, partial: Path, manifest: Manifest, content: bytes) -> None:
        """Makes what `resume` gave a version; its files have been verified while they were written. `content`: manifest.json.

        A version of that name which is there already gives way: it was found damaged. Raises StageRefused for files too many or
        too few.
        """
        target = self.root / manifest.version
        if partial != self.root / f"{PARTIAL_PREFIX}{manifest.version}":
            raise StageRefused(f"{partial} is not what resume({manifest.version!r}) gave")
        if (found := disk.regular_files(partial) - {MANIFEST_NAME}) != manifest.files.keys():
            raise StageRefused(
                f"{partial} differs from the manifest in {', '.join(sorted(found ^ manifest.files.keys()))}"
            )
        (partial / MANIFEST_NAME).unlink(missing_ok=True)
        (partial / MANIFEST_NAME).write_bytes(content)
        self._seal_as(target, partial, manifest)

    def point(self, pointer: Sequence[str], also: Sequence[str]) -> None:
        """Has services hold exactly these: the active version and the one before, and further ones. Nothing is written in vain.

        Raises BundleMissing, BundleCorrupt or UnsupportedFormat for a version that cannot be had, HoldRefused beyond MAX_ALSO.
        """
        for version in (*pointer, *also):
            read_manifest(self.root, version)
        if len(also) > MAX_ALSO:
            raise HoldRefused(f"at most {MAX_ALSO} bundles can be held besides, not {len(also)}")
        with disk.exclusive(self.root):
            for name, versions in ((ALSO_NAME, also), (POINTER_NAME, pointer)):
                text = "".join(f"{version}\n" for version in versions)
                path = self.root / name
                if (path.read_text(encoding="utf-8", errors="replace") if path.exists() else "") != text:
                    disk.replace_file(path, text)

    def remove(self, version: str) -> None:
        """Deletes a version that services need not hold. Raises HoldRefused for one that they should, BundleMissing for none."""
        if version not in self.versions():
            raise BundleMissing(f"bundle {version!r} is not in {self.root}")
        with disk.exclusive(self.root):
            if version in (*self.pointer(), *self.also()):
                raise HoldRefused(f"bundle {version} is active, previous or held; it is not removed")
            self._push_out(version)
            disk.remove_tree(self.root / f"{GONE_PREFIX}{version}")
        verified.forget(self.root, version)

    def abandoned(self) -> dict[str, int]:
        """Fetches that nobody works at: version, and when anything last happened to it, in ms since the epoch."""
        found = {}
        for partial in self.root.glob(f"{PARTIAL_PREFIX}*"):
            lock = disk.try_lock(partial)
            if lock is not None:
                found[partial.name.removeprefix(PARTIAL_PREFIX)] = disk.last_change_ms(partial)
                os.close(lock)
        return found

    def abandon(self, version: str) -> None:
        """Removes what was fetched of a version that is not whole, unless somebody works at it."""
        partial = self.root / f"{PARTIAL_PREFIX}{version}"
        lock = disk.try_lock(partial)
        if lock is not None:
            disk.remove_tree(partial)
            os.close(lock)

    def activate(self, version: str) -> None:
        """Makes a version the current one, atomically; the one that was current becomes the previous one."""
        read_manifest(self.root, version)
        with disk.exclusive(self.root):
            try:
                pointer = self.pointer()
            except BundleCorrupt:  # activating a version is how a broken pointer is repaired
                pointer = []
            if pointer[:1] == [version]:
                return
            disk.replace_file(self.root / POINTER_NAME, "\n".join([version, *pointer[:1]]) + "\n")

    def active_version(self) -> str:
        """The active version. Raises BundleMissing before the first activation, BundleCorrupt if the pointer is unreadable."""
        version = self.current_version()
        if version is None:
            raise BundleMissing(f"no bundle is active: {self.root / POINTER_NAME} is missing; publish and activate one")
        return version

    def current_version(self) -> str | None:
        """The active version; None before the first activation. Raises BundleCorrupt if the pointer is unreadable."""
        return next(iter(self.pointer()), None)

    def previous_version(self) -> str | None:
        """The version that was active before the current one; None if there is none."""
        return next(iter(self.pointer()[1:]), None)

    def hold(self, version: str) -> None:
        """Has every service hold a version besides the current and the previous one, as an experiment needs it.

        Raises BundleMissing, BundleCorrupt or UnsupportedFormat for a version that cannot be had, HoldRefused beyond MAX_ALSO.
        """
        read_manifest(self.root, version)
        with disk.exclusive(self.root):
            held = self.also()
            if version in held:
                return
            if len(held) >= MAX_ALSO:
                raise HoldRefused(f"{MAX_ALSO} bundles are held already; release one of: {', '.join(held)}")
            self._write_also([*held, version])

    def release(self, version: str) -> None:
        """Takes `hold` back, also for a version that is gone from the disk. Raises HoldRefused for one that is not held."""
        with disk.exclusive(self.root):
            held = self.also()
            if version not in held:
                raise HoldRefused(f"bundle {version!r} is not held; held: {', '.join(held) or 'none'}")
            self._write_also([each for each in held if each != version])

    def also(self) -> list[str]:
        """The versions that are held besides, in the order of `hold`. Raises BundleCorrupt if the list is unreadable."""
        return self._names(ALSO_NAME, MAX_ALSO)

    def stamp(self) -> tuple[disk.Stamp | None, ...]:
        """What changes when a version is activated, held or released: two `stat`s, no file is read."""
        return tuple(disk.stamp(self.root / name) for name in (POINTER_NAME, ALSO_NAME))

    def files_stamp(self, version: str) -> tuple[disk.Stamp, ...]:
        """What changes when the files of a version do, be they repaired or damaged; empty for a version that is not there."""
        return disk.tree_stamp(self.root / version) if VERSION.fullmatch(version) else ()

    def versions(self) -> list[str]:
        """All published versions, oldest first."""
        return versions_in(self.root)

    def find(self, name: str) -> str:
        """The version that a person means by "current", "active", "previous", or the beginning of a version or of its hash.

        Raises BundleMissing for a name that means no version or several, telling which there are.
        """
        if name in {"current", "active", "previous"}:
            pointed = self.previous_version() if name == "previous" else self.current_version()
            if pointed is None:
                raise BundleMissing(f"there is no {name} bundle in {self.root}; activate one, or name a version")
            return pointed
        matching = [version for version in self.versions() if name and _begins(version, name)]
        if len(matching) == 1:
            return matching[0]
        known = ", ".join(matching or self.versions()) or "none"
        problem = "means several bundles" if matching else "means no bundle"
        raise BundleMissing(f"{name!r} {problem} in {self.root}; name one of: {known}")

    def manifest(self, version: str) -> Manifest:
        """What a version says of itself, its files unchecked: for people. Raises BundleMissing, BundleCorrupt."""
        return read_manifest(self.root, version)

    def open(
        self,
        version: str,
        expected_fingerprint: str | None,
        parts: Sequence[str] | None = None,
        reread: bool = False,
    ) -> Bundle:
        """The bundle, after every checksum has been verified. None as fingerprint: accept any feature schema.

        `parts`: only these files and folders are verified, and can be asked for. A file that has not changed since its checksum
        was right is not read again, unless `reread`.

        Raises BundleMissing, BundleCorrupt, UnsupportedFormat or SchemaMismatch.
        """
        manifest = read_manifest(self.root, version)
        if expected_fingerprint not in {None, manifest.schema_fingerprint}:
            raise SchemaMismatch(version, manifest.schema_fingerprint, str(expected_fingerprint))
        try:
            verify_files(self.root / version, manifest, parts, None if reread else Verified(self.root, manifest))
        except BundleCorrupt:
            if reread:  # what a service would believe otherwise is not so
                verified.forget(self.root, version)
            raise
        return Bundle(version, self.root / version, manifest, parts)

    def pointer(self) -> list[str]:
        """The active version and the one before, both of one moment; empty before the first activation. Raises BundleCorrupt."""
        return self._names(POINTER_NAME, 2, at_least=1)

    def _seal_as(self, target: Path, staged: Path, manifest: Manifest) -> None:
        """Makes a directory of verified files the version `target`."""
        disk.seal(staged, manifest.created_at_ms // 1000 - _AGED_S)
        seen = {relative: look(staged / relative) for relative in manifest.files}
        with disk.exclusive(self.root):
            self._push_out(manifest.version)
            os.rename(staged, target)
            disk.sync_directory(self.root)
            disk.remove_tree(self.root / f"{GONE_PREFIX}{manifest.version}")
        Verified(self.root, manifest).remember(seen)

    def _push_out(self, version: str) -> None:
        """A version goes as a whole, under another name: nobody finds a part of it."""
        disk.remove_tree(self.root / f"{GONE_PREFIX}{version}")
        if (self.root / version).exists():
            os.rename(self.root / version, self.root / f"{GONE_PREFIX}{version}")

    def _names(self, file: str, at_most: int, at_least: int = 0) -> list[str]:
        try:
            lines = (self.root / file).read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []
        except UnicodeDecodeError:
            lines = [""]
        if not at_least <= len(lines) <= at_most or not all(VERSION.fullmatch(line) for line in lines):
            raise BundleCorrupt(f"({file.lower()})", file, "does not hold the name of a version")
        return lines

    def _write_also(self, versions: list[str]) -> None:
        disk.replace_file(self.root / ALSO_NAME, "".join(f"{version}\n" for version in versions))

    def _remove_dead_stages(self) -> None:
        """The lock of a stage dies with its process, whatever killed it. What is on its way out needs none."""
        for gone in self.root.glob(f"{GONE_PREFIX}*"):
            disk.remove_tree(gone)
        for stage in self.root.glob(f"{STAGE_PREFIX}*"):
            lock = disk.try_lock(stage)
            if lock is not None:
                disk.remove_tree(stage)
                os.close(lock)


def _begins(version: str, name: str) -> bool:
    return version.startswith(name) or version.rpartition("-")[2].startswith(name)


def _checksum_all(staged: Path, progress: Progress | None) -> dict[str, FileEntry]:
    try:
        names = sorted(disk.regular_files(staged))
    except disk.NotAFile as error:
        raise StageRefused(f"{error}: only files and directories can be published, no links") from error
    if not names or MANIFEST_NAME in names:
        problem = f"{MANIFEST_NAME} is written by publish()" if names else "nothing was staged"
        raise StageRefused(f"{staged}: {problem}")
    files = {}
    for name in names:
        files[name] = FileEntry(sha256=disk.sha256(staged / name), size=(staged / name).stat().st_size)
        if progress is not None:
            progress(name, files[name].size)
    return files


def _complete(fields: ManifestFields, files: dict[str, FileEntry], now_ms: int) -> Manifest:
    """The manifest with its version: the time makes versions sort, the hash makes them unique and tamper-evident."""
    try:
        draft = Manifest(version="", created_at_ms=now_ms, files=files, **fields)
    except ValidationError as error:
        raise StageRefused(f"the manifest is not valid: {first_problem(error)}") from error
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    version = f"{moment:%Y%m%dT%H%M%S}.{now_ms % 1000:03d}Z-{draft.content_hash()[:HASH_DIGITS]}"
    return draft.model_copy(update={"version": version})

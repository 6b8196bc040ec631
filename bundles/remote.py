"""A bundle store behind any fsspec URL: what lies there, and how each thing is read and written so that nobody sees a part of it.

Layout, as below a local root: `<url>/<version>/<file>`, `<url>/<version>/manifest.json`, `<url>/CURRENT`, `<url>/ALSO`, and
`<url>/.unused/<version>`, since when nobody has needed a version (`collect.py`). The manifest is written after all files:
a version without one does not exist. Knows neither what is pushed nor what is fetched.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from bundles import disk
from bundles.bundle import VERSION, parse_manifest
from bundles.errors import (
    BundleCorrupt,
    BundleError,
    BundleMissing,
    DiskFull,
    HoldRefused,
    RemoteDenied,
    RemoteError,
    RemoteUnreachable,
    RemoteUnsupported,
)
from bundles.manifest import MANIFEST_NAME, Manifest
from bundles.store import ALSO_NAME, MAX_ALSO, POINTER_NAME

UNUSED_NAME = ".unused"
_CHUNK = 1 << 20
_BLOCK = 8 << 20  # one range request: s3fs asks for 50 MB at a time by itself, twice that in memory
_SECRET = re.compile(r"://[^/@]*@")  # user and password, where a protocol has them in its URLs
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}  # protocol -> extra of pyproject.toml
_BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "az"}  # no directories there; to make one would be to make a bucket
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "DefaultCredentialsError",
    "RefreshError",
    "ProfileNotFound",
}


@dataclass(frozen=True)
class Wanted:
    """What the store asks services to hold: the active version and the one before, and further ones."""

    pointer: tuple[str, ...]
    also: tuple[str, ...]

    @property
    def current(self) -> str:
        return self.pointer[0]

    def all(self) -> list[str]:
        """Every version once, the active one first."""
        return list(dict.fromkeys((*self.pointer, *self.also)))


class RemoteStore:
    """The bundles below one URL. `options` go to the fsspec file system; by default it finds credentials in its environment."""

    def __init__(self, url: str, **options: Any) -> None:
        """Raises RemoteUnsupported or RemoteDenied; whether there is anything at the URL shows later."""
        self.url = _SECRET.sub("://***@", url)  # as it is shown
        with self._explained():
            # Nothing is cached: others write here, and an instance of our own sees their writes.
            self._fs, self._base = _file_system(url.rstrip("/"), options)
        self._local = isinstance(self._fs, LocalFileSystem)

    def current_version(self) -> str | None:
        """The active version; None before the first push. Raises BundleCorrupt if the pointer is unreadable."""
        return next(iter(self._names(POINTER_NAME, 2)), None)

    def wanted(self) -> Wanted:
        """Raises BundleMissing before the first push, BundleCorrupt if the pointer is unreadable."""
        pointer = self._names(POINTER_NAME, 2)
        if not pointer:
            raise BundleMissing(f"{self.url}: no bundle is active there; push one, or correct the URL")
        return Wanted(tuple(pointer), tuple(self._names(ALSO_NAME, MAX_ALSO)))

    def activate(self, version: str) -> None:
        """Makes a version the active one; the one that was active becomes the previous one."""
        with self._one_writer():
            try:
                before = self._names(POINTER_NAME, 2)
            except BundleCorrupt:  # activating a version is how a broken pointer is repaired
                before = []
            if before[:1] != [version]:
                self._replace(POINTER_NAME, [version, *before[:1]])

    def hold(self, version: str) -> None:
        """Has services hold a version besides. Raises HoldRefused beyond MAX_ALSO."""
        with self._one_writer():
            try:
                held = self._names(ALSO_NAME, MAX_ALSO)
            except BundleCorrupt:  # as for the pointer
                held = []
            if version in held:
                return
            if len(held) >= MAX_ALSO:
                raise HoldRefused(f"{self.url}: {MAX_ALSO} bundles are held; release one of: {', '.join(held)}")
            self._replace(ALSO_NAME, [*held, version])

    def release(self, version: str) -> None:
        """Takes `hold` back. Raises HoldRefused for a version that is not held."""
        with self._one_writer():
            held = self._names(ALSO_NAME, MAX_ALSO)
            if version not in held:
                raise HoldRefused(f"{self.url}: bundle {version!r} is not held; held: {', '.join(held) or 'none'}")
            self._replace(ALSO_NAME, [each for each in held if each != version])

    def manifest_bytes(self, version: str) -> bytes | None:
        """The manifest as it was published; None if the version is not, or not wholly, there."""
        try:
            with self._explained():
                return bytes(self._fs.cat_file(self._path(version, MANIFEST_NAME)))
        except FileNotFoundError:
            return None

    def manifest(self, version: str) -> Manifest:
        """Raises BundleMissing, BundleCorrupt or UnsupportedFormat."""
        content = self.manifest_bytes(version)
        if content is None:
            raise BundleMissing(f"{self.url}: bundle {version!r} is not there, or not wholly; push it again")
        return parse_manifest(version, content)

    def read(self, version: str, file: str, offset: int = 0) -> Iterator[bytes]:
        """The bytes of a file from `offset` on, piece by piece. Raises BundleCorrupt if there is no such file."""
        try:
            with (
                self._explained(),
                self._fs.open(self._path(version, file), "rb", block_size=_BLOCK) as stream,
            ):
                stream.seek(offset)
                while piece := stream.read(_CHUNK):
                    yield piece
        except FileNotFoundError as error:
            raise BundleCorrupt(version, file, f"is missing at {self.url}") from error

    def sizes(self, version: str) -> dict[str, int]:
        """What lies below a version, whole or not: relative path and size in bytes."""
        folder = self._path(version)
        try:
            with self._explained():
                found = self._fs.find(folder, detail=True)
        except FileNotFoundError:
            return {}
        prefix = f"{folder.lstrip('/')}/"
        return {path.lstrip("/").removeprefix(prefix): int(about["size"]) for path, about in found.items()}

    def sha256(self, version: str, file: str) -> str:
        """Hex digest of a file, read back."""
        digest = hashlib.sha256()
        for piece in self.read(version, file):
            digest.update(piece)
        return digest.hexdigest()

    def upload(self, source: Path, version: str, file: str) -> None:
        """Writes a file as a whole: under a name of its own and renamed on a disk, as one object elsewhere."""
        target = self._path(version, file)
        with self._explained(), self._must_exist():
            self._make_parents(target)
            if self._local:
                temporary = f"{target}.{uuid.uuid4().hex}.part"
                try:
                    self._fs.put_file(str(source), temporary)
                    os.replace(temporary, target)
                finally:
                    Path(temporary).unlink(missing_ok=True)
            else:
                self._fs.put_file(str(source), target)

    def upload_manifest(self, version: str, content: str) -> None:
        """Makes a version exist; all of its files must be there."""
        self._write(self._path(version, MANIFEST_NAME), content)

    def versions(self) -> dict[str, bool]:
        """All versions, oldest first, and whether each is whole. Those that are not may be on their way up."""
        found = [name for name in self._list("") if VERSION.fullmatch(name)]
        return {version: self.manifest_bytes(version) is not None for version in sorted(found)}

    def remove(self, version: str) -> None:
        """Deletes a version, its manifest first: from then on it does not exist."""
        for path in (self._path(version, MANIFEST_NAME), self._path(version), self._path(UNUSED_NAME, version)):
            try:
                with self._explained():
                    self._fs.rm(path, recursive=True)
            except FileNotFoundError:
                continue

    def unused_since_ms(self, version: str) -> int | None:
        """What `mark_unused` wrote, in ms since the epoch; None if nothing, or nothing that can be read."""
        try:
            with self._explained():
                return int(self._fs.cat_file(self._path(UNUSED_NAME, version)))
        except (FileNotFoundError, ValueError):
            return None

    def mark_unused(self, version: str, now_ms: int) -> None:
        """Notes that nobody needs a version."""
        self._write(self._path(UNUSED_NAME, version), f"{now_ms}\n")

    def unmark(self, version: str) -> None:
        """Somebody needs the version after all."""
        try:
            with self._explained():
                self._fs.rm_file(self._path(UNUSED_NAME, version))
        except FileNotFoundError:
            pass

    def _path(self, *parts: str) -> str:
        return "/".join([self._base, *parts])

    def _list(self, folder: str) -> list[str]:
        try:
            with self._explained():
                found = self._fs.ls(self._path(folder).rstrip("/"), detail=False)
        except FileNotFoundError:
            return []
        return [path.rstrip("/").rpartition("/")[2] for path in found]

    def _names(self, file: str, at_most: int) -> list[str]:
        try:
            with self._explained():
                lines = bytes(self._fs.cat_file(self._path(file))).decode("utf-8", errors="replace").split()
        except FileNotFoundError:
            return []
        if len(lines) > at_most or not all(VERSION.fullmatch(line) for line in lines):
            raise BundleCorrupt(f"({file.lower()})", f"{self.url}/{file}", "does not hold the name of a version")
        return lines

    def _replace(self, file: str, versions: Sequence[str]) -> None:
        self._write(self._path(file), "".join(f"{version}\n" for version in versions))

    def _write(self, path: str, text: str) -> None:
        """A small file so that a reader sees the old text or the new one, never a part.

        On a disk it is renamed into place. An object store shows an object once its PUT has ended, and S3 and GCS show it to every
        reader from then on; so one PUT of one object is atomic, and a rename there would be a copy and a deletion, which is not.
        Other file systems may show a part for a moment: it names no version, or fails to be a manifest, and is read again.
        """
        with self._explained(), self._must_exist():
            self._make_parents(path)
            if self._local:
                disk.swap_file(Path(path), text, durable=True)
            else:
                self._fs.pipe_file(path, text.encode())

    def _one_writer(self) -> Any:
        """On a disk, one process at a time changes the pointer. Elsewhere the last one wins, each with a whole pointer."""
        if not self._local:
            return nullcontext()
        with self._explained():
            self._fs.makedirs(self._base, exist_ok=True)
        return disk.exclusive(Path(self._base))

    def _make_parents(self, path: str) -> None:
        protocols = {self._fs.protocol} if isinstance(self._fs.protocol, str) else set(self._fs.protocol)
        if not protocols & _BUCKETS:
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)

    @contextmanager
    def _must_exist(self) -> Iterator[None]:
        """Nothing that is written can be missing, but its bucket can."""
        try:
            yield
        except FileNotFoundError as error:
            raise RemoteUnreachable(self.url, f"there is nothing to write to: {error}") from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns whatever a file system raises into one of our errors. A missing file stays FileNotFoundError."""
        try:
            yield
        except (BundleError, FileNotFoundError):
            raise
        except Exception as error:  # every file system has exceptions of its own, without a common base
            raise explain(self.url, error) from error


def explain(url: str, error: Exception) -> BundleError:
    """The error of ours that says what an exception of a file system means."""
    protocol = url.partition("://")[0]
    kind, text = type(error).__name__, " ".join(str(error).split()) or "no details"
    if isinstance(error, ImportError) or (isinstance(error, ValueError) and "Protocol not known" in text):
        extra = _EXTRAS.get(protocol)
        advice = (
            f"; pip install 'explore-stack[{extra}]'" if extra else "; file, s3 and gs are known, others need a package"
        )
        return RemoteUnsupported(url, f"nothing here speaks {protocol!r}: {text}{advice}")
    if kind in _NO_CREDENTIALS:
        return RemoteDenied(url, f"no credentials: {text}; set them in the environment or give the pod an identity")
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"{url}: no room: {text}")
    if isinstance(error, PermissionError):
        return RemoteDenied(url, f"no permission: {text}")
    if isinstance(error, ValueError | TypeError):
        return RemoteError(url, f"cannot be used: {kind}: {text}")
    return RemoteUnreachable(url, f"does not answer as it should: {kind}: {text}")


def _file_system(url: str, options: dict[str, Any]) -> tuple[Any, str]:
    if not url.partition("://")[1]:
        raise RemoteUnsupported(
            url, "is no URL; for example s3://bucket/bundles, gs://bucket/bundles or file:///mnt/bundles"
        )
    return fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True, **options)

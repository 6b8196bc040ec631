"""Reading a published version: its manifest and the proof that every file is what was published."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bundles import disk
from bundles.errors import BundleCorrupt, BundleMissing, UnknownFile, UnsupportedFormat, UnverifiedFile
from bundles.manifest import FORMAT_VERSION, MANIFEST_NAME, Manifest
from bundles.verified import Verified, look

HASH_DIGITS = 12
VERSION = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{12}")  # UTC time, then the beginning of the content hash


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk. `parts`: the files and folders whose checksums were verified; None means all."""

    version: str
    path: Path
    manifest: Manifest
    parts: Sequence[str] | None = None

    def file(self, relative: str) -> Path:
        """Where a file of the manifest lies. Raises UnknownFile for any other name, UnverifiedFile outside of `parts`."""
        if relative not in self.manifest.files:
            raise UnknownFile(self.version, relative, sorted(self.manifest.files))
        return self.folder(relative)

    def folder(self, relative: str) -> Path:
        """Where a folder lies, all of whose files are verified. Raises UnverifiedFile."""
        if not within(relative, self.parts):
            raise UnverifiedFile(self.version, relative, list(self.parts or ()))
        return self.path / relative


def versions_in(root: Path) -> list[str]:
    """All published versions below `root`, oldest first."""
    if not root.is_dir():
        return []
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and VERSION.fullmatch(entry.name))


def read_manifest(root: Path, version: str) -> Manifest:
    """The manifest of `<root>/<version>/`. Raises BundleMissing, BundleCorrupt or UnsupportedFormat."""
    path = root / version / MANIFEST_NAME
    if not VERSION.fullmatch(version) or not path.parent.is_dir():
        known = ", ".join(versions_in(root)) or "none"
        raise BundleMissing(f"bundle {version!r} is not in {root}; publish it or take one of: {known}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BundleCorrupt(version, MANIFEST_NAME, f"cannot be read: {error}") from error
    return parse_manifest(version, content)


def parse_manifest(version: str, content: bytes) -> Manifest:
    """The manifest of a version from the bytes of its file. Raises BundleCorrupt or UnsupportedFormat."""
    try:
        raw = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleCorrupt(version, MANIFEST_NAME, f"cannot be read: {error}") from error
    found = raw.get("format_version") if isinstance(raw, dict) else None
    if found != FORMAT_VERSION:  # before anything else is looked at: another format may have other fields
        raise UnsupportedFormat(version, found, FORMAT_VERSION)
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        raise BundleCorrupt(version, MANIFEST_NAME, first_problem(error)) from error
    if manifest.version != version or not version.endswith(manifest.content_hash()[:HASH_DIGITS]):
        raise BundleCorrupt(version, MANIFEST_NAME, "is not the manifest that this version was published with")
    return manifest


def within(relative: str, parts: Sequence[str] | None) -> bool:
    """Whether a path is one of `parts` or lies in one of them; None means that everything is in."""
    return parts is None or any(relative == part or relative.startswith(f"{part}/") for part in parts)


def verify_files(
    path: Path, manifest: Manifest, parts: Sequence[str] | None = None, trusted: Verified | None = None
) -> None:
    """Raises BundleCorrupt, naming the file, unless exactly the files of the manifest are there, unchanged.

    Names and sizes are looked at for all of them, contents within `parts`. A file that `trusted` knows is not read again.
    """
    try:
        found = disk.regular_files(path) - {MANIFEST_NAME}
    except disk.NotAFile as error:
        raise BundleCorrupt(manifest.version, str(error), "is neither a file nor a directory") from error
    for missing in sorted(manifest.files.keys() - found):
        raise BundleCorrupt(manifest.version, missing, "is missing")
    for extra in sorted(found - manifest.files.keys()):
        raise BundleCorrupt(manifest.version, extra, "is not in the manifest")
    for relative, entry in manifest.files.items():
        actual = (path / relative).stat().st_size
        if actual != entry.size:
            raise BundleCorrupt(manifest.version, relative, f"has {actual} bytes, expected {entry.size}")
    read = {}
    for relative in (each for each in manifest.files if within(each, parts)):
        seen = look(path / relative)  # before it is read: what changes it meanwhile shows the next time
        if trusted is not None and trusted.holds(relative, seen):
            continue
        if disk.sha256(path / relative) != manifest.files[relative].sha256:
            raise BundleCorrupt(manifest.version, relative, "has another sha256 than when it was published")
        read[relative] = seen
    if trusted is not None:
        trusted.remember(read)


def first_problem(error: ValidationError) -> str:
    """The first complaint of pydantic, with its place, on one line."""
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else detail["msg"]

"""Reading a published version: its manifest and the proof that every file is what was published."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from bundles import disk
from bundles.errors import BundleCorrupt, BundleMissing, UnknownFile, UnsupportedFormat
from bundles.manifest import FORMAT_VERSION, MANIFEST_NAME, Manifest

HASH_DIGITS = 12
VERSION = re.compile(r"\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{12}")  # UTC time, then the beginning of the content hash


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk."""

    version: str
    path: Path
    manifest: Manifest

    def file(self, relative: str) -> Path:
        """Where a file of the manifest lies. Raises UnknownFile for any other name."""
        if relative not in self.manifest.files:
            raise UnknownFile(self.version, relative, sorted(self.manifest.files))
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
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
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


def verify_files(path: Path, manifest: Manifest) -> None:
    """Raises BundleCorrupt, naming the file, unless exactly the files of the manifest are there, unchanged."""
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
        if disk.sha256(path / relative) != entry.sha256:
            raise BundleCorrupt(manifest.version, relative, "has another sha256 than when it was published")


def first_problem(error: ValidationError) -> str:
    """The first complaint of pydantic, with its place, on one line."""
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else detail["msg"]

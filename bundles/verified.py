"""Remembers which files of a version have been checksummed, so that a process that starts need not read gigabytes again.

`<root>/.verified/<version>.json` holds the modification time, size and inode that each file had when its checksum was right. A file
that still has all three is believed; any other is read again. What is written, replaced, copied or restored later has another
inode or another time. Guards against accidents and not against attackers: who can write here can write the manifest as well.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from bundles import disk
from bundles.manifest import Manifest

FOLDER_NAME = ".verified"
_STILL_NS = 2_000_000_000  # coarser than the clock of any file system we know

_log = logging.getLogger(__name__)
Seen = list[int]  # modification time in ns, size, inode


class Verified:
    """The record of one version. `now_ns` is the clock that file systems stamp with."""

    def __init__(self, root: Path, manifest: Manifest, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._path = root / FOLDER_NAME / f"{manifest.version}.json"
        self._content_hash = manifest.content_hash()
        self._still_since_ns = now_ns() - _STILL_NS
        self._known = self._read()

    def holds(self, relative: str, seen: Seen) -> bool:
        """Whether a file that looks like this is the one that was checksummed."""
        return self._known.get(relative) == seen

    def remember(self, found: dict[str, Seen]) -> None:
        """Records how files looked before they were read, and found right. If that cannot be written, they are read next time.

        A file that was written just before is left out: another write might leave its time as it is, since clocks of file systems
        are coarse. The files of a published version have times long past (`disk.seal`).
        """
        fresh = {relative: seen for relative, seen in found.items() if seen[0] < self._still_since_ns}
        if all(self._known.get(relative) == seen for relative, seen in fresh.items()):
            return
        self._known = {**self._read(), **fresh}  # another process may have verified other files meanwhile
        text = json.dumps({"content_hash": self._content_hash, "files": self._known}, sort_keys=True)
        try:
            self._path.parent.mkdir(exist_ok=True)
            disk.swap_file(self._path, text)
        except OSError as error:  # a root that is mounted read-only, most likely
            _log.debug("which files are verified cannot be recorded: %s", error)

    def _read(self) -> dict[str, Seen]:
        """Empty for a record that is missing, broken, or of another manifest: everything is read again then."""
        try:
            raw = json.loads(self._path.read_text(encoding="utf-8"))
            files = raw["files"] if raw["content_hash"] == self._content_hash else {}
            return {str(relative): [int(number) for number in seen] for relative, seen in files.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def forget(root: Path, version: str) -> None:
    """Removes the record of a version."""
    (root / FOLDER_NAME / f"{version}.json").unlink(missing_ok=True)


def look(path: Path) -> Seen:
    """What changes when a file does. One `stat`."""
    found = path.stat()
    return [found.st_mtime_ns, found.st_size, found.st_ino]

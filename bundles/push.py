"""Brings a local version to a remote store: its files, then its manifest, then the pointer. What is there is not sent again.

Several processes may push at once, the same version too, and any of them may die at any point: the worst that stays is files
without a manifest, which are no version, and which the next push takes up or `collect.py` removes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

from bundles.errors import RemoteError, RemoteUnreachable
from bundles.manifest import Manifest
from bundles.patience import Patience
from bundles.remote import RemoteStore
from bundles.store import BundleStore

_ROUNDS = 3  # a collector that looked before us may remove what we found; it does so once

_log = logging.getLogger(__name__)


@dataclass
class Pushed:
    """What a push did. Bytes of files; `skipped` were there already, read back and right."""

    version: str
    uploaded: int = 0
    skipped: int = 0


class Pusher:
    """From one local store to one remote one."""

    def __init__(self, store: BundleStore, remote: RemoteStore, patience: Patience | None = None) -> None:
        self._store, self._remote, self._patience = store, remote, patience or Patience()

    def push(self, version: str, hold: bool = False) -> Pushed:
        """Makes a version the active one of the remote store, or one that is held besides.

        Every local checksum is verified first. Raises BundleError; what is uploaded by then need not be uploaded again.
        """
        manifest = self._store.open(version, None, reread=True).manifest
        pushed = Pushed(version)
        for _ in range(_ROUNDS):
            self._patience(lambda: self._remote.unmark(version))
            self._upload(manifest, pushed)
            self._patience(lambda: self._remote.hold(version) if hold else self._remote.activate(version))
            if self._whole(manifest):
                return pushed
            _log.warning("what was pushed has been removed meanwhile", extra={"version": version})
        problem = f"files of bundle {version} go as fast as they come; is a collector without grace at work?"
        raise RemoteError(self._remote.url, problem)

    def _upload(self, manifest: Manifest, pushed: Pushed) -> None:
        version = manifest.version
        sizes = self._patience(lambda: self._remote.sizes(version))
        for number, (relative, entry) in enumerate(manifest.files.items(), 1):
            if self._is_there(manifest, relative, sizes):
                pushed.skipped += entry.size
            else:
                source = self._store.root / version / relative
                self._patience(partial(self._remote.upload, source, version, relative))
                pushed.uploaded += entry.size
                done = {
                    "version": version,
                    "file": relative,
                    "bytes": entry.size,
                    "of": f"{number}/{len(manifest.files)}",
                }
                _log.info("uploaded", extra=done)
        self._patience(lambda: self._complete(manifest))

    def _is_there(self, manifest: Manifest, relative: str, sizes: dict[str, int]) -> bool:
        """Read back, since a size says little, and stores have no checksums in common. Only what a push left behind is read."""
        entry = manifest.files[relative]
        if sizes.get(relative) != entry.size:
            return False
        return self._patience(lambda: self._remote.sha256(manifest.version, relative)) == entry.sha256

    def _complete(self, manifest: Manifest) -> None:
        """The manifest comes last, and only when all it names is there."""
        sizes = self._remote.sizes(manifest.version)
        if lost := [file for file, entry in manifest.files.items() if sizes.get(file) != entry.size]:
            raise RemoteUnreachable(self._remote.url, f"does not show what was uploaded: {manifest.version}/{lost[0]}")
        if self._remote.manifest_bytes(manifest.version) != manifest.to_json().encode():
            self._remote.upload_manifest(manifest.version, manifest.to_json())

    def _whole(self, manifest: Manifest) -> bool:
        sizes = self._patience(lambda: self._remote.sizes(manifest.version))
        there = all(sizes.get(file) == entry.size for file, entry in manifest.files.items())
        return there and self._patience(lambda: self._remote.manifest_bytes(manifest.version)) is not None

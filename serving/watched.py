"""A file that people change while the service runs: read when it changes, refused when it is broken. Knows no content.

A look costs one `stat`, so it can be made for every request; there is no thread and no delay.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
Stamp = tuple[int, int, int]

_log = logging.getLogger(__name__)
_NEVER: Stamp = (-1, -1, -1)  # of no file


def stamp_of(path: Path) -> Stamp | None:
    """What changes when a file does, be it written in place or replaced (as Kubernetes does with mounted ConfigMaps)."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@dataclass(frozen=True)
class _Held(Generic[T]):
    value: T
    stamp: object


class WatchedFile(Generic[T]):
    """The value of the file as it is now, or as it last was when it was good. Safe to call from several threads.

    `read` makes a value of the file, or raises with what a person should read. Errors at the start are raised; later
    ones change nothing: the value before goes on, and `refused` says why.
    """

    def __init__(self, path: Path, read: Callable[[Path], T], stamp: Callable[[Path], object] = stamp_of) -> None:
        """`stamp` tells two states of the path apart; one that is made of several files has its own."""
        self.path, self._read, self._stamp = path, read, stamp
        self.refused = ""
        self._lock = threading.Lock()
        before = stamp(path)  # reading: a change in between is seen as one
        self._held = _Held(read(path), before)

    def value(self) -> T:
        """What serves from now on."""
        stamp = self._stamp(self.path)
        if stamp != self._held.stamp:
            with self._lock:
                if stamp != self._held.stamp:
                    self._reload(stamp)
        return self._held.value

    def reconsider(self) -> None:
        """Reads the file again at the next look, though it is the same: for when what it was refused for has changed."""
        with self._lock:
            self._held = _Held(self._held.value, _NEVER)

    def _reload(self, stamp: object) -> None:
        try:
            value = self._read(self.path)
        except Exception as error:  # whatever a file makes go wrong, requests must not
            self.refused = str(error) or type(error).__name__
            self._held = _Held(self._held.value, stamp)  # not read again before it changes again
            _log.error(
                "changed file refused, what was before goes on", extra={"file": str(self.path), "error": str(error)}
            )
            return
        self.refused = ""
        self._held = _Held(value, stamp)
        _log.info("changed file read", extra={"file": str(self.path)})

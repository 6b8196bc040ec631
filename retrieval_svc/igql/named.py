"""The queries of a running service by name: a default one, and a directory whose files NAME.igql are found when they are asked for.

Knows files and plans, no user. Safe to call from several threads.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path

from retrieval_svc.igql.errors import IgqlError
from retrieval_svc.igql.files import QueryFile
from retrieval_svc.igql.plan import Plan
from retrieval_svc.igql.vocabulary import Vocabulary

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")  # no path leads out of the directory
_SUFFIX = ".igql"
_MAX_SHOWN = 80  # characters of a name that is not known


class UnknownQuery(LookupError):
    """There is no good query `name`; the message says which there are."""

    def __init__(self, name: str, known: list[str]) -> None:
        there_is = ", ".join(known) or "only the default one, whose name is empty"
        super().__init__(f"is {name[:_MAX_SHOWN]!r}, which is no query of this service; known: {there_is}")
        self.name = name


class NamedQueries:
    """Plans by name; the empty name is the default query.

    Only the default query can keep a service from starting. A named one that is broken when it is first read does not exist until
    it is corrected, and `refused` says why; one that breaks later goes on as it was.
    """

    def __init__(
        self, default: Path, directory: Path | None, vocabulary: Vocabulary, prepare: Callable[[Plan], None]
    ) -> None:
        """Compiles everything there is. `prepare` is called with every plan before it serves. Raises IgqlError for the default."""
        self._vocabulary, self._prepare, self._directory = vocabulary, prepare, directory
        self._default = self._compile(default)
        self._named: dict[str, QueryFile] = {}
        self._broken: dict[str, tuple[int, str]] = {}  # name -> when the file was written, and what is wrong with it
        self._lock = threading.Lock()
        for name in self._names_on_disk():
            self._find(name)

    def plan(self, name: str = "") -> Plan:
        """The plan of a query as its file is now, or of its last version that was good. Raises UnknownQuery."""
        if not name:
            return self._default.plan()
        file = self._named.get(name) or self._find(name)
        if file is None:
            raise UnknownQuery(name, self.known())
        return file.plan()

    def known(self) -> list[str]:
        """The names that can be asked for."""
        return sorted({*self._named, *(name for name in self._names_on_disk() if name not in self._broken)})

    @property
    def refused(self) -> str:
        """Why files as they are now do not serve; empty if all do."""
        files = [file.refused for file in (self._default, *list(self._named.values()))]
        never_good = [problem for _, problem in list(self._broken.values())]
        return "; ".join(problem for problem in (*files, *never_good) if problem)

    def _find(self, name: str) -> QueryFile | None:
        if self._directory is None or not _NAME.fullmatch(name):
            return None
        path = self._directory / f"{name}{_SUFFIX}"
        with self._lock:
            try:
                written = path.stat().st_mtime_ns
            except OSError:
                self._broken.pop(name, None)
                return None
            if name in self._named:  # found by another thread meanwhile
                return self._named[name]
            if name in self._broken and self._broken[name][0] == written:
                return None  # not compiled again before it changes
            try:
                self._named[name] = self._compile(path)
            except IgqlError as error:
                self._broken[name] = (written, str(error))
                return None
            self._broken.pop(name, None)
            return self._named[name]

    def _compile(self, path: Path) -> QueryFile:
        return QueryFile(path, self._vocabulary, self._prepare)

    def _names_on_disk(self) -> list[str]:
        if self._directory is None:
            return []
        return sorted(path.stem for path in self._directory.glob(f"*{_SUFFIX}") if _NAME.fullmatch(path.stem))

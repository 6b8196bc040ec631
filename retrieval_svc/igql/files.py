"""The query file of a running service: compiled when it changes, refused when it is broken. Knows files and plans, no user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.errors import IgqlError, Position
from retrieval_svc.igql.optimise import optimised
from retrieval_svc.igql.plan import Plan
from retrieval_svc.igql.vocabulary import Vocabulary
from serving.watched import WatchedFile

DEFAULT_QUERY: Final = Path(__file__).parent / "default.igql"


def read_query(path: Path) -> str:
    """The text of a query file. Raises IgqlError for a file that cannot be read as text."""
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin UTF-8 with a mark that nobody sees
    except FileNotFoundError as error:
        raise _unread(path, str(error.strerror), f"put the query at {path}, or name another file") from error
    except OSError as error:
        raise _unread(path, str(error.strerror), f"{path} must be a file that this process may read") from error
    except UnicodeDecodeError as error:
        raise _unread(path, "is no UTF-8 text", f"save {path} as UTF-8") from error


def _unread(path: Path, why: str, hint: str) -> IgqlError:
    return IgqlError(f"cannot be read: {why}", Position(1, 1), hint).shown_in(path.name, "")


def compile_file(path: Path, vocabulary: Vocabulary) -> Plan:
    """The plan of a query file. Raises IgqlError."""
    return optimised(compile_query(read_query(path), vocabulary, path.name))


class QueryFile:
    """The plan of a file that may change at any time. A file that is broken, or gone, changes nothing; `refused` says why."""

    def __init__(self, path: Path, vocabulary: Vocabulary, prepare: Callable[[Plan], None] = lambda _: None) -> None:
        """Compiles the file. `prepare` is called with every plan before it serves. Raises IgqlError."""

        def read(changed: Path) -> Plan:
            plan = compile_file(changed, vocabulary)
            prepare(plan)
            return plan

        self._file = WatchedFile(path, read)

    @property
    def path(self) -> Path:
        return self._file.path

    @property
    def refused(self) -> str:
        """Why the file as it is now does not serve; empty if it does."""
        return self._file.refused

    def plan(self) -> Plan:
        """The plan of the file as it is now, or of its last version that was good."""
        return self._file.value()

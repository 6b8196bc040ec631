"""What is wrong with a query, where, and what was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Position:
    """Where a word stands in the text. Lines and columns count from 1; `length` is in characters."""

    line: int
    column: int
    length: int = 1


class IgqlError(ValueError):
    """A query that cannot run. `str()` of it is what a person should see: place, line, caret, suggestion."""

    def __init__(self, problem: str, at: Position, hint: str = "") -> None:
        super().__init__(problem)
        self.problem, self.at, self.hint = problem, at, hint
        self._name, self._line = "query", ""

    def shown_in(self, name: str, text: str) -> IgqlError:
        """The same error, knowing the file's name and text."""
        lines = text.split("\n")  # as the parser counts them; splitlines() also cuts at form feeds
        self._name = name
        self._line = lines[self.at.line - 1] if self.at.line <= len(lines) else ""
        return self

    def __str__(self) -> str:
        # Tabs of the line are repeated under it, or the caret would point elsewhere.
        padding = "".join("\t" if letter == "\t" else " " for letter in self._line[: self.at.column - 1])
        caret = padding + "^" * max(1, min(self.at.length, len(self._line) - len(padding) or 1))
        hint = f"\n{self.hint}" if self.hint else ""
        return f"{self._name}:{self.at.line}:{self.at.column}: {self.problem}\n  {self._line}\n  {caret}{hint}"


def suggestion(word: str, known: Iterable[str], what: str) -> str:
    """A did-you-mean where one is close, otherwise the list of what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"{what}: {', '.join(names)}" if names else f"there are no {what}"

"""A YAML text as nodes that know their places, and the list of what is wrong with it. Knows no experiment.

Nothing is ever constructed of a tag: nodes are read as text, number, list or mapping, by the one who knows what is expected.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping

import yaml

MAX_CHARS = 256_000  # parsed between two requests, so it must not take long
_MAX_DEPTH = 20
_MAX_SHOWN = 50  # problems
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # several times as fast, where libyaml is there


class TextRefused(ValueError):
    """The text has problems; `str()` is one line for each of them, in their order in the text."""


class Reading:
    """Reads one text. Collects problems instead of stopping at the first; `finish` raises them together."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._problems: list[tuple[int, int, str]] = []

    def root(self, text: str) -> yaml.Node | None:
        """The root node, None for a text without content. Raises TextRefused for what is no YAML."""
        if len(text) > MAX_CHARS:
            raise TextRefused(f"{self._name}: has {len(text)} characters, at most {MAX_CHARS} are allowed")
        try:
            self._require_flat(text)
            return yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = "" if mark is None else f"{mark.line + 1}:{mark.column + 1}: "
            raise TextRefused(f"{self._name}:{where}is no YAML: {error.problem or error.context}") from error
        except yaml.YAMLError as error:
            raise TextRefused(f"{self._name}: is no YAML: {' '.join(str(error).split())}") from error

    def _require_flat(self, text: str) -> None:
        """Events come one after the other; nodes are made recursively, and in C that crashes the process over deep nesting."""
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise TextRefused(f"{self._name}: is nested more than {_MAX_DEPTH} deep")

    def refuse(self, node: yaml.Node, key: str, problem: str) -> None:
        """Adds a problem; `key` is the path in the file, `problem` completes the sentence it starts."""
        mark = node.start_mark
        self._problems.append((mark.line + 1, mark.column + 1, f"{key} {problem}".strip()))

    def place(self, node: yaml.Node) -> str:
        """FILE:LINE:COLUMN of a node."""
        return f"{self._name}:{line_of(node)}:{node.start_mark.column + 1}"

    def finish(self) -> None:
        """Raises TextRefused if there was any problem."""
        if self._problems:
            lines = [f"{self._name}:{line}:{column}: {text}" for line, column, text in sorted(self._problems)]
            more = [f"and {len(lines) - _MAX_SHOWN} more problems"] if len(lines) > _MAX_SHOWN else []
            raise TextRefused("\n".join(lines[:_MAX_SHOWN] + more))

    def mapping(
        self, node: yaml.Node, key: str, allowed: Collection[str] = (), name: re.Pattern[str] | None = None
    ) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Key to (key node, value node); only the `allowed` keys, or keys that match `name`. Others are problems."""
        if not isinstance(node, yaml.MappingNode):
            self.refuse(node, key, f"must be a mapping{f' of {_listed(allowed)}' if allowed else ''}")
            return {}
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key_node, value_node in node.value:
            word = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if word is None:
                self.refuse(key_node, key, "has a key that is no word")
            elif word in found:
                self.refuse(key_node, under(key, word), "is given twice")
            elif allowed and word not in allowed:
                self.refuse(key_node, under(key, word), f"is not known; {suggestion(word, allowed)}")
            elif name is not None and not name.fullmatch(word):
                self.refuse(key_node, under(key, word), "must be 1 to 64 letters, digits, '_', '.' or '-'")
            else:
                found[word] = (key_node, value_node)
        return found

    def text(self, node: yaml.Node, key: str) -> str | None:
        """The text of a scalar that is not empty; None, and a problem, for anything else."""
        if isinstance(node, yaml.ScalarNode) and node.value and node.tag != "tag:yaml.org,2002:null":
            return str(node.value)
        self.refuse(node, key, "must be a word")
        return None

    def number(self, node: yaml.Node, key: str, low: float, high: float) -> float | None:
        """A number within [low, high]; None, and a problem, for anything else."""
        try:
            # A quoted number is a text. `1e-3` is a text to YAML 1.1, but a number to everybody who writes it.
            value = float(node.value) if isinstance(node, yaml.ScalarNode) and not node.style else math.nan
        except ValueError:
            value = math.nan
        if low <= value <= high:
            return value
        bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        self.refuse(node, key, f"must be a number {bounds}, got {_shown(node)}")
        return None

    def whole_number(self, node: yaml.Node, key: str, low: int, high: int) -> int | None:
        """A whole number within [low, high]; None, and a problem, for anything else."""
        value = self.number(node, key, low, high)
        if value is not None and not value.is_integer():
            self.refuse(node, key, f"must be a whole number, got {_shown(node)}")
            return None
        return None if value is None else int(value)

    def items(self, node: yaml.Node, key: str) -> list[yaml.Node]:
        """The entries of a list."""
        if isinstance(node, yaml.SequenceNode):
            return list(node.value)
        self.refuse(node, key, "must be a list")
        return []


def under(key: str, word: str) -> str:
    """The path of a key inside another one."""
    return f"{key}.{word}" if key else word


def suggestion(word: str, known: Collection[str]) -> str:
    """A did-you-mean where one is close, and what there is."""
    close = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    there_is = f"allowed: {_listed(known)}" if known else "there is none"
    return f"did you mean {close[0]!r}? {there_is}" if close else there_is


def line_of(node: yaml.Node) -> int:
    """Line of a node, from 1."""
    return int(node.start_mark.line) + 1


def _listed(known: Collection[str] | Mapping[str, object]) -> str:
    return ", ".join(sorted(known))


def _shown(node: yaml.Node) -> str:
    return repr(node.value) if isinstance(node, yaml.ScalarNode) else "no scalar"

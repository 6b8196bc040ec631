"""How lists of candidates become one: what a query says after its lists are found, as data that services may exchange.

A shard sends its part of every list and this; who merges the parts of all shards follows it. Knows no operator and no message.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL = 1 << 40  # more rows than there are


@dataclass(frozen=True)
class ListOf:
    """One list, as it was found."""

    number: int
    most: int = ALL  # rows that count, of all shards together


@dataclass(frozen=True)
class Mixed:
    """Shares by weight of a list of `size` rows (0: of as many as were asked for)."""

    parts: tuple[Recipe, ...]
    weights: tuple[float, ...]
    size: int = 0
    most: int = ALL


@dataclass(frozen=True)
class United:
    """One after the other, each media item once."""

    parts: tuple[Recipe, ...]
    most: int = ALL


@dataclass(frozen=True)
class FirstOf:
    """The first part with at least `at_least` rows; where none has, the longest."""

    parts: tuple[Recipe, ...]
    at_least: int
    most: int = ALL


@dataclass(frozen=True)
class Spread:
    """Rows spread over their groups: at most `max_per` of each, or (0) rounds with at most one of each."""

    part: Recipe
    max_per: int = 0
    most: int = ALL


Recipe = ListOf | Mixed | United | FirstOf | Spread

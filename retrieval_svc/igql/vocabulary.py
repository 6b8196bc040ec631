"""The names that a query may use besides operators: what one bundle offers. Knows no bundle."""

from __future__ import annotations

from dataclasses import dataclass

from features.counters import DAY_MS


@dataclass(frozen=True)
class Vocabulary:
    """Names by kind. The defaults are what every bundle has, for checking a file where there is no bundle."""

    embeddings: tuple[str, ...] = ("default",)
    media_embeddings: tuple[str, ...] = ("default",)
    windows_ms: tuple[int, ...] = (DAY_MS, 2 * DAY_MS, 7 * DAY_MS)
    topics: tuple[str, ...] | None = None  # None: not known here, every name passes

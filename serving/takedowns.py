"""Media and accounts that must not be shown any more, from now on: a list in a file, one `media ID` or `account ID` per line.

For what cannot wait for the next bundle. Knows ids and lines; knows no catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

_KINDS = ("media", "account")
_LARGEST_ID = np.iinfo(np.int64).max


def _nobody() -> Int64:
    return np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Takedowns:
    """Sorted ids."""

    media_ids: Int64 = field(default_factory=_nobody)
    account_ids: Int64 = field(default_factory=_nobody)


class TakedownsRefused(ValueError):
    """The file has a line that names nothing. No line of it holds then: half a list would look like a whole one."""


def read_takedowns(path: Path) -> Takedowns:
    """The list of a file, which must be there. Raises TakedownsRefused, naming the line.

    A file that is gone, or whose name was mistyped, must not show again what was taken down.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin UTF-8 with a mark that nobody sees
    except FileNotFoundError:
        raise TakedownsRefused(f"{path}: there is no such file; an empty one takes nothing down") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TakedownsRefused(f"{path}: cannot be read: {error}") from error
    ids: dict[str, set[int]] = {kind: set() for kind in _KINDS}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in _KINDS or not words[1].isascii() or not words[1].isdigit():
            raise TakedownsRefused(f"{path}:{number}: {line.strip()!r} must be 'media ID' or 'account ID', an ID > 0")
        if not 0 < int(words[1]) <= _LARGEST_ID:
            raise TakedownsRefused(f"{path}:{number}: the ID must be from 1 to {_LARGEST_ID}")
        ids[words[0]].add(int(words[1]))
    media, accounts = (np.array(sorted(ids[kind]), dtype=np.int64) for kind in _KINDS)
    return Takedowns(media, accounts)

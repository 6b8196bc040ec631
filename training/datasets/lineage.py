"""Which data sets a data set was made from: its users are theirs. Knows dataset.json and the sizes of the tables' files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.datasets.contract import INFO_FILE, TABLES
from training.errors import DatasetError

_FIELD = "made_from"


@dataclass(frozen=True)
class Origin:
    """A data set as it was: its directory's name and its mark."""

    name: str
    mark: str


def mark(root: Path) -> str:
    """Tells a directory's data set from others, and from what was written there before. Raises DatasetError for a missing table."""
    digest = hashlib.sha256()
    if (root / INFO_FILE).exists():
        digest.update((root / INFO_FILE).read_bytes())
    for table in TABLES:
        try:
            digest.update(f"{table.file} {(root / table.file).stat().st_size}\n".encode())
        except FileNotFoundError:
            problem = "the file is missing"
            raise DatasetError(str(root / table.file), problem, "write it, or import the data set again") from None
    return digest.hexdigest()


def origins(info: Mapping[str, Any], file: Path) -> tuple[Origin, ...]:
    """What dataset.json says of them, the first one first. Raises DatasetError."""
    try:
        return tuple(Origin(str(each["name"]), str(each["mark"])) for each in info.get(_FIELD, ()))
    except (TypeError, KeyError) as error:
        raise DatasetError(
            str(file), f"{_FIELD} is no list of names and marks", "merge again", column=_FIELD
        ) from error


def as_info(made_from: tuple[Origin, ...]) -> dict[str, Any]:
    """The same for dataset.json; nothing for a data set that was made from none."""
    return {_FIELD: [asdict(origin) for origin in made_from]} if made_from else {}

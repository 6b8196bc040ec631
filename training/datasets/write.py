"""Writes a data set whole or not at all. Knows directories and renames; the checks are those of `load.checked`."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from training.datasets.contract import CONTRACT_VERSION, EVENTS, INFO_FILE, MEDIA, USERS
from training.datasets.lineage import as_info
from training.datasets.load import Dataset, checked
from training.errors import DatasetError


def write(dataset: Dataset, path: Path | str) -> Dataset:
    """Writes `dataset` to the directory `path`, replacing a data set that is there, and returns it as it now lies on disk.

    Whatever fails, `path` holds what it held before. Raises DatasetError for data that breaks the contract, and for a
    directory that is neither empty nor a data set.
    """
    with staging(path) as staged:
        written = write_tables(dataset, staged)
    return replace(written, root=Path(path))


def write_tables(dataset: Dataset, directory: Path) -> Dataset:
    """Checks `dataset` and writes its tables and dataset.json into `directory`, which is not the final place."""
    good = checked(
        dataset.users,
        dataset.media,
        dataset.events.sort("event_time", maintain_order=True),
        name=dataset.name,
        as_of_ms=dataset.as_of_ms,
        created_by=dataset.created_by,
        seed=dataset.seed,
        warnings=dataset.warnings,
    )
    frames = {USERS: good.users, MEDIA: good.media, EVENTS: good.events}
    for table, frame in frames.items():
        frame.write_parquet(directory / table.file, compression="zstd")
    info = {
        "name": good.name,
        "created_by": good.created_by,
        "as_of_ms": good.as_of_ms,
        "rows": {table.name: len(frame) for table, frame in frames.items()},
        "contract_version": CONTRACT_VERSION,
        "seed": good.seed,
        **as_info(dataset.made_from),
    }
    (directory / INFO_FILE).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    return replace(good, made_from=dataset.made_from)


@contextmanager
def staging(path: Path | str) -> Iterator[Path]:
    """A new directory beside `path` that takes its place when the block ends, and goes when the block fails."""
    target = Path(path).absolute()
    refuse_foreign(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    staged, old = holder / "new", holder / "old"
    staged.mkdir()
    try:
        yield staged
        _swap(staged, target, old)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def refuse_foreign(target: Path) -> None:
    """Raises DatasetError when writing to `target` would delete something that is no data set."""
    if not target.exists() or (target / INFO_FILE).is_file():
        return
    if not target.is_dir() or any(target.iterdir()):
        raise DatasetError(str(target), "it exists and is no data set", "name another directory, or empty this one")


def _swap(staged: Path, target: Path, old: Path) -> None:
    try:
        if target.exists():
            target.rename(old)
        staged.rename(target)
    except BaseException:  # an interrupt between the two renames must not lose the old data set
        if old.exists() and not target.exists():
            old.rename(target)
        raise

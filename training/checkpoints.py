"""What a run keeps on disk so that a killed one goes on where it stopped. Knows files; knows nothing of what is in them.

    <root>/<key>/run.json      when the run began, and what it had done last
    <root>/<key>/<name>.npz    arrays and JSON notes: the result of a step, or a model in the middle of its training
    <root>/<key>/<name>/       the files of a step, with contents.json: what the step returned, and a checksum of each file

The key names everything that a result depends on (`run_key.py`), so what lies below it fits the run that asks for it. Files
appear whole or not at all and are checked when they are read: zip archives by their CRC, folders by their checksums. What does
not pass is made again. Nothing is synced to the disk for that reason: after a power cut the checks find what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bundles import disk
from training.errors import RunInUse

Arrays = Mapping[str, NDArray[Any]]
Say = Callable[[str], None]

SAVE_EVERY_S = 60.0
FORGET_AFTER_S = 7 * 86_400.0
_NOTES = "_notes"  # the entry of an archive that holds the notes, and the names of all others
_CONTENTS, _RUN = "contents.json", "run.json"


@dataclass(frozen=True)
class Snapshot:
    """Arrays by name, and notes that JSON can take."""

    arrays: Arrays
    notes: Mapping[str, Any]


class Checkpoint(Protocol):
    """Where one model in the middle of its training is kept."""

    def load(self) -> Snapshot | None:
        """What an earlier run kept last; None if there is nothing that can be used."""

    def due(self) -> bool:
        """Whether so much time has passed since the last save that another one is worth it, epoch or not."""

    def save(self, snapshot: Snapshot, done: str) -> None:
        """Takes the place of the last one. `done` says to a person how far training is."""


class Keeper(Protocol):
    """Where a run keeps what is expensive to make."""

    def arrays(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """What `compute` returns, or what it returned to an earlier run."""

    def files(self, name: str, into: Path, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        """The files that `write` puts below a directory, below `into`, and the JSON object that it returns."""

    def checkpoint(self, name: str) -> Checkpoint | None:
        """For a model that is trained step by step; None if it need not survive a kill."""


class KeepNothing:
    """For runs that may start over."""

    def arrays(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        return compute()

    def files(self, name: str, into: Path, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        return write(into)

    def checkpoint(self, name: str) -> Checkpoint | None:
        return None


class RunDirectory:
    """The directory of one run. One process at a time: `open_run` sees to that."""

    def __init__(self, root: Path, say: Say) -> None:
        self.root, self.say = root, say
        self._started_s = time.time()

    def resume(self) -> None:
        """Says what an earlier run left here, if it left anything."""
        with suppress(
            OSError, ValueError, KeyError, TypeError
        ):  # a run that says nothing of itself still has its files
            run = json.loads((self.root / _RUN).read_text(encoding="utf-8"))
            self._started_s = float(run["started_s"])
            self.say(f"resuming the run of {_clock(self._started_s)}: {run['done']}")

    def done(self, what: str) -> None:
        """Notes what a later run would resume after."""
        with _replacing(self.root / _RUN) as new:
            new.write_text(json.dumps({"started_s": self._started_s, "done": what}), encoding="utf-8")

    def arrays(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        path = self._path(name)
        kept = self.read(path, name)
        if kept is not None:
            return kept.arrays
        made = compute()
        _write_archive(path, Snapshot(made, {}))
        self.done(f"{name} done")
        return made

    def files(self, name: str, into: Path, write: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
        folder = self.root / name.replace(" ", "_")
        returned = self._returned(folder, name)
        if returned is None:
            shutil.rmtree(folder, ignore_errors=True)
            with _replacing(folder) as new:
                shutil.rmtree(new, ignore_errors=True)
                new.mkdir()
                returned = write(new)
                checksums = {file: disk.sha256(new / file) for file in sorted(disk.regular_files(new))}
                contents = json.dumps({"returned": returned, "checksums": checksums})
                (new / _CONTENTS).write_text(contents, encoding="utf-8")
            self.done(f"{name} done")
        shutil.copytree(folder, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(_CONTENTS))
        return returned

    def checkpoint(self, name: str) -> Checkpoint | None:
        return _FileCheckpoint(self, self._path(name), name)

    def read(self, path: Path, name: str) -> Snapshot | None:
        """The archive at `path`; None if there is none, or a broken one, which is said."""
        try:
            return _read_archive(path)
        except FileNotFoundError:
            return None
        except Exception as error:  # a file can be broken in many ways, all of which have one remedy
            self._say_broken(name, error)
            return None

    def _returned(self, folder: Path, name: str) -> dict[str, Any] | None:
        if not folder.exists():
            return None
        try:
            contents = json.loads((folder / _CONTENTS).read_text(encoding="utf-8"))
            found = {file: disk.sha256(folder / file) for file in sorted(disk.regular_files(folder) - {_CONTENTS})}
            if found != contents["checksums"]:
                raise ValueError("its files are not those that were written")
            returned: dict[str, Any] = contents["returned"]
        except Exception as error:
            self._say_broken(name, error)
            return None
        return returned

    def _say_broken(self, name: str, error: Exception) -> None:
        self.say(f"what was kept of {name} is broken and is made again ({error})")

    def _path(self, name: str) -> Path:
        return self.root / f"{name.replace(' ', '_')}.npz"


class _FileCheckpoint:
    """One archive, replaced by every save."""

    def __init__(self, run: RunDirectory, path: Path, name: str) -> None:
        self._run, self._path, self._name = run, path, name
        self._saved_s = time.monotonic()

    def load(self) -> Snapshot | None:
        return self._run.read(self._path, self._name)

    def due(self) -> bool:
        return time.monotonic() - self._saved_s >= SAVE_EVERY_S

    def save(self, snapshot: Snapshot, done: str) -> None:
        _write_archive(self._path, snapshot)
        self._run.done(f"{self._name}, {done}")
        self._saved_s = time.monotonic()


@contextmanager
def open_run(root: Path, key: str, say: Say, fresh: bool = False) -> Iterator[RunDirectory]:
    """The directory of the run `key` below `root`, for this process alone. It goes when the block ends well.

    Runs of other keys are left alone, until one that nobody has touched for a week goes as well. `fresh` empties the directory
    first. Raises RunInUse if another process trains the same.
    """
    root.mkdir(parents=True, exist_ok=True)
    directory = root / key
    with disk.exclusive(root):  # nobody removes the directory between its creation and its lock
        directory.mkdir(exist_ok=True)
        lock = disk.try_lock(directory)
    if lock is None:
        raise RunInUse(str(directory))
    try:
        if fresh:
            _empty(directory)
        run = RunDirectory(directory, say)
        run.resume()
        yield run
        with disk.exclusive(root):
            disk.remove_tree(directory)
            _forget_old_runs(root, say)
    finally:
        os.close(lock)


def _forget_old_runs(root: Path, say: Say) -> None:
    for directory in sorted(path for path in root.iterdir() if path.is_dir()):
        touched_s = max(path.stat().st_mtime for path in (directory, *directory.iterdir()))
        lock = disk.try_lock(directory) if time.time() - touched_s > FORGET_AFTER_S else None
        if lock is not None:
            disk.remove_tree(directory)
            os.close(lock)
            say(f"removed the unfinished run of {_clock(touched_s)}, which was never resumed")


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir():
            disk.remove_tree(path)
        else:
            path.unlink()


def _write_archive(path: Path, snapshot: Snapshot) -> None:
    about = json.dumps({"names": list(snapshot.arrays), "notes": dict(snapshot.notes)})
    notes = np.frombuffer(about.encode(), dtype=np.uint8)
    with _replacing(path) as new, new.open("wb") as file:
        np.savez(file, allow_pickle=False, **{_NOTES: notes}, **snapshot.arrays)


def _read_archive(path: Path) -> Snapshot:
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise ValueError(f"{broken} fails its checksum")
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    about = json.loads(arrays.pop(_NOTES).tobytes())
    if list(arrays) != about["names"]:
        raise ValueError("some of its arrays are missing")
    return Snapshot(arrays, about["notes"])


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when the block ends well."""
    new = path.with_name(f".{path.name}.new")
    yield new
    os.replace(new, path)


def _clock(time_s: float) -> str:
    """The time of day, with the day if that is not today."""
    moment = datetime.fromtimestamp(time_s)
    return f"{moment:%H:%M}" if moment.date() == datetime.now().date() else f"{moment:%d %b %H:%M}"

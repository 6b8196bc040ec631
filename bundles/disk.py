"""What the store asks of a POSIX file system: checksums, durable writes, locks that die with their process."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK_NAME = ".lock"

Stamp = tuple[str, int, int, int]  # name, modification time, size, inode


class NotAFile(Exception):
    """The message is the relative path of something that is neither a regular file nor a directory."""


def regular_files(root: Path) -> set[str]:
    """Relative posix paths of all files below `root`. Raises NotAFile on links, sockets and the like."""
    files = set()
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                files.add(path.relative_to(root).as_posix())
            elif not stat.S_ISDIR(mode):
                raise NotAFile(path.relative_to(root).as_posix())
    return files


def stamp(path: Path) -> Stamp | None:
    """What changes when a file does, written in place or replaced; None if there is none. One `stat`."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return path.name, found.st_mtime_ns, found.st_size, found.st_ino


def tree_stamp(root: Path) -> tuple[Stamp, ...]:
    """The stamps of all directories and files below `root`, itself included, sorted. One `stat` each."""
    paths = [root, *(Path(folder, name) for folder, folders, names in os.walk(root) for name in [*folders, *names])]
    return tuple(sorted(found for path in paths if (found := stamp(path)) is not None))


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(root: Path) -> None:
    """Makes a tree durable and read-only, the deepest directory first."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            with Path(folder, name).open("rb") as file:
                os.fsync(file.fileno())
            Path(folder, name).chmod(0o444)
        Path(folder).chmod(0o555)
        sync_directory(Path(folder))


def sync_directory(path: Path) -> None:
    """Makes the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, text: str) -> None:
    """Writes a small file so that a reader sees the old text or the new one, never a part. One writer at a time."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


@contextmanager
def exclusive(root: Path) -> Iterator[None]:
    """One process at a time inside `root`, for moments only."""
    with (root / _LOCK_NAME).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def try_lock(directory: Path) -> int | None:
    """A descriptor that holds the lock of a directory until it is closed; None if it is held elsewhere or gone."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def remove_tree(root: Path) -> None:
    """Removes a tree, sealed or not; one that is not there is fine."""
    if not root.exists():
        return
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o755)
    shutil.rmtree(root)

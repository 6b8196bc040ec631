"""What the store asks of a POSIX file system: checksums, durable writes, locks that die with their process."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
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


def last_change_ms(root: Path) -> int:
    """When anything below `root` was last written, in ms since the epoch; 0 if there is nothing."""
    return max((found[1] for found in tree_stamp(root)), default=0) // 1_000_000


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(root: Path, time_s: int) -> None:
    """Makes a tree durable and read-only, the deepest directory first.

    Files get the modification time `time_s`, seconds since the epoch, long enough ago that any later write changes it. Those with
    several names keep theirs: they were sealed under the other name, and somebody may rely on the time they have.
    """
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            path = Path(folder, name)
            if path.stat().st_nlink == 1:
                os.utime(path, (time_s, time_s))
            with path.open("rb") as file:
                os.fsync(file.fileno())
            path.chmod(0o444)
        Path(folder).chmod(0o555)
        sync_directory(Path(folder))


def unseal(root: Path) -> None:
    """Makes the directories of a tree writable again."""
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o755)


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


def swap_file(path: Path, text: str, durable: bool = False) -> None:
    """As `replace_file`, for any number of writers; one that is not `durable` may be lost in a power cut."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
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
    unseal(root)
    shutil.rmtree(root)

"""Remote stores that fail when a test says so, and what must hold of a store whatever failed before."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from bundles.bundle import parse_manifest
from bundles.patience import Patience
from bundles.remote import RemoteStore
from bundles.store import BundleStore

AT_ONCE = Patience(pause=lambda seconds: None)
_LOCAL = ("replace", "rename", "link", "fsync")  # what a fetch does to the disk, one system call each


class Killed(BaseException):
    """The process ends here: nothing catches it."""


class Fuse:
    """Lets so many operations pass, and then raises. `late`: the one that raises has had its effect."""

    def __init__(self, operations: int, error: Callable[[], BaseException] = Killed, late: bool = False) -> None:
        self.left, self.error, self.late = operations, error, late

    def around(self, operation: Callable[[], Any], torn: Callable[[], object] = lambda: None) -> Any:
        """`torn`: what an operation leaves behind that was under way."""
        self.left -= 1
        if self.left >= 0:
            return operation()
        if self.left == -1 and self.late:
            operation()
        else:
            torn()
        raise self.error()


class Fused:
    """A file system whose operations pass a fuse. An upload that dies leaves half of the file, as on stores without atomic ones."""

    def __init__(self, files: Any, fuse: Fuse) -> None:
        self._files, self._fuse = files, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._files, name)
        if not callable(found) or name == "put_file":
            return found
        return lambda *args, **kwargs: self._fuse.around(lambda: found(*args, **kwargs))

    def put_file(self, source: str, target: str) -> None:
        with open(source, "rb") as file:
            content = file.read()

        def torn() -> None:
            self._files.pipe_file(target, content[: len(content) // 2])

        self._fuse.around(lambda: self._files.pipe_file(target, content), torn)


def fused(remote: RemoteStore, fuse: Fuse) -> RemoteStore:
    """The same store through a fuse."""
    other = RemoteStore(remote.url)
    other._fs = Fused(remote._fs, fuse)
    return other


@contextmanager
def disk_through(fuse: Fuse) -> Iterator[None]:
    """The disk passes a fuse too."""
    with ExitStack() as patches:
        for name in _LOCAL:
            real = getattr(os, name)

            def passed(*args: Any, real: Any = real, **kwargs: Any) -> Any:
                return fuse.around(lambda: real(*args, **kwargs))

            patches.enter_context(patch.object(os, name, passed))
        yield


def check_remote(remote: RemoteStore) -> list[str]:
    """What a reader finds: the pointer, every version of which is whole."""
    names = remote._names("CURRENT", 2)
    for version in (version for version, whole in remote.versions().items() if whole):
        manifest = parse_manifest(version, remote.manifest_bytes(version) or b"")
        assert {file: remote.sha256(version, file) for file in manifest.files} == {
            file: entry.sha256 for file, entry in manifest.files.items()
        }
    assert all(remote.manifest(version) for version in names)
    return names


def check_local(store: BundleStore) -> list[str]:
    """What a service finds: the pointer, every version of which is whole, and no version that is not."""
    for version in store.versions():
        assert store.open(version, None, reread=True).version == version
    assert {*store.pointer(), *store.also()} <= set(store.versions())
    return store.pointer()

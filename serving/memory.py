"""How this process asks the system for memory, and what its garbage collector looks through."""

from __future__ import annotations

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h
_LARGE = (
    512 * 1024
)  # bytes: more than nearly all arrays of a usual request, less than gRPC's pieces of a message of 10 MB
_ARENAS = 2  # heaps of a process: our threads wait for each other anyway


def give_back_large_buffers() -> None:
    """Buffers of more than half a MiB go back to the system when they are freed.

    By itself glibc keeps them: once one was freed, it takes the next of that size from the heap of the thread, where those of a few
    messages of 10 MB stay for good. A service that once got some would hold several times the memory it needs.
    """
    libc = ctypes.CDLL(None)  # other C libraries are left alone
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)


def freeze_what_is_loaded() -> None:
    """The garbage collector no longer looks through what exists now: modules, which stay for good.

    A full collection stops everything: the gateway for tens of milliseconds every few seconds under load, without the modules for a
    few (docs/performance.md).
    To be called before anything is opened that may be let go again, such as a bundle.
    """
    gc.collect()
    gc.freeze()

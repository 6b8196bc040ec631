"""How this process asks the system for memory. Knows glibc, and leaves other C libraries alone."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE = 4 * 1024 * 1024  # bytes: more than any array of a usual request


def give_back_large_buffers() -> None:
    """Buffers of more than 4 MiB go back to the system when they are freed.

    By itself glibc keeps them: once one was freed, it takes the next of that size from the heap of the thread, where a few of 10 MB
    stay for good. A service that once got a few messages of the largest size would hold three times the memory it needs.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE)

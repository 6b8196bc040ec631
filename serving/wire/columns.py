"""The rules that every column on the wire obeys: width, offsets, ranges. Knows no message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidArgument, StageContractViolation

INT64 = np.dtype("<i8")
UINT32 = np.dtype("<u4")
UINT8 = np.dtype("<u1")
FLOAT32 = np.dtype("<f4")

Int64 = NDArray[np.int64]


def count_rows(data: bytes, dtype: np.dtype[Any], field: str) -> int:
    """How many values a `bytes` column holds."""
    rows, rest = divmod(len(data), dtype.itemsize)
    if rest:
        raise InvalidArgument(field, f"has {len(data)} bytes, which is not a multiple of {dtype.itemsize}")
    return rows


def column(data: bytes, dtype: np.dtype[Any], rows: int, field: str) -> NDArray[Any]:
    """A read-only view of a `bytes` column; nothing is copied."""
    if len(data) != rows * dtype.itemsize:
        raise InvalidArgument(field, f"has {len(data)} bytes, expected {rows} rows of {dtype.itemsize} bytes")
    return np.frombuffer(data, dtype)


def to_bytes(values: NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    """The column of `values`."""
    return np.ascontiguousarray(values, dtype).tobytes()


def decode_offsets(values: Sequence[int], users: int, field: str) -> Int64:
    """B + 1 row numbers, starting at 0, never decreasing. The columns check where they end."""
    if len(values) != users + 1:
        raise InvalidArgument(field, f"has {len(values)} entries, expected {users + 1} for {users} users")
    rows = list(values)
    if rows[0] != 0:
        raise InvalidArgument(field, f"starts at {rows[0]}, expected 0")
    if sorted(rows) != rows:  # a call carries few users: cheaper than a difference of numpy's
        raise InvalidArgument(field, "decreases")
    return np.array(rows, np.int64)


def check_length(values: Sequence[Any], users: int, field: str) -> None:
    """One entry per user."""
    if len(values) != users:
        raise InvalidArgument(field, f"has {len(values)} entries, expected one for each of {users} users")


def check_rows(good_N: NDArray[np.bool_], values_N: NDArray[Any], field: str, rule: str) -> None:
    """Raises InvalidArgument that names the first row which is not good."""
    if not good_N.all():
        row = int(np.argmin(good_N))
        raise InvalidArgument(f"{field}[{row}]", f"is {values_N[row]}, must be {rule}")


def lowest(values_X: NDArray[Any]) -> Any:
    """The smallest value, without the detours of `min`; there must be one. NaN if there is any, which no comparison holds for."""
    return np.minimum.reduce(values_X)


def highest(values_X: NDArray[Any]) -> Any:
    """As `lowest`, the largest value."""
    return np.maximum.reduce(values_X)


def positive_B(values: Sequence[int], users: int, field: str) -> Int64:
    """One positive number per user."""
    check_length(values, users, field)
    array_B = np.fromiter(values, np.int64, users)
    check_rows(array_B > 0, array_B, field, "at least 1")
    return array_B


def repeated_in_a_user(values_N: Int64, offsets: Int64) -> Int64:
    """Rows whose value stood in an earlier row of the same user."""
    sorted_N = values_N.copy()
    for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        sorted_N[start:end].sort()  # many times as fast as sorting places, which only a repeated value needs
    equal = np.flatnonzero(sorted_N[1:] == sorted_N[:-1]) + 1
    if not len(equal) or np.isin(equal, offsets).all():  # the first of a user may equal the last of the one before
        return np.empty(0, np.int64)
    user_N = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((values_N, user_N))
    same = (np.diff(values_N[order]) == 0) & (np.diff(user_N[order]) == 0)
    return np.sort(order[1:][same])


@contextmanager
def answer_of(stage: str) -> Iterator[None]:
    """What would be wrong input in a request is, in an answer, the stage's breach of contract."""
    try:
        yield
    except InvalidArgument as error:
        raise StageContractViolation(stage, error.field, error.reason) from error

"""Candidates messages: round trip, what is refused, and by which name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from protos.explore.v1.candidates_pb2 import Candidates
from serving.columns import CandidateColumns
from serving.errors import InvalidArgument
from serving.wire import decode_candidates, encode_candidates
from tests.serving.batches import candidate_columns, candidates

NAN, INF = float("nan"), float("inf")


def message(offsets: list[int] | None = None) -> Candidates:
    """Two users with two candidates and one."""
    encoded = encode_candidates(candidates([[0.5, NAN], [-3.0]]))
    if offsets is not None:
        encoded.offsets[:] = offsets
    return encoded


def changed(field: str, value: bytes) -> Candidates:
    encoded = message()
    setattr(encoded, field, value)
    return encoded


@given(st.integers(0, 3).flatmap(candidate_columns))
def test_round_trip_changes_nothing(columns: CandidateColumns) -> None:
    decoded = decode_candidates(encode_candidates(columns), len(columns.offsets) - 1)
    for field in fields(CandidateColumns):
        np.testing.assert_array_equal(getattr(decoded, field.name), getattr(columns, field.name), field.name)


def test_unscored_candidates_stay_unscored() -> None:
    np.testing.assert_array_equal(decode_candidates(message(), 2).score_N, np.array([0.5, NAN, -3.0], np.float32))


def test_decoded_columns_share_the_bytes_of_the_message() -> None:
    decoded = decode_candidates(message(), 2)
    assert not decoded.media_id_N.flags.owndata
    assert not decoded.media_id_N.flags.writeable


@pytest.mark.parametrize(
    ("offsets", "reason"),
    [
        ([], "has 0 entries, expected 3 for 2 users"),
        ([0, 3], "has 2 entries, expected 3 for 2 users"),
        ([1, 2, 3], "starts at 1, expected 0"),
        ([0, 3, 2], "decreases"),
    ],
)
def test_wrong_offsets_are_refused(offsets: list[int], reason: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"^candidates\.offsets {reason}"):
        decode_candidates(message(offsets), 2)


@pytest.mark.parametrize("end", [2, 4, 2**32 - 1])
def test_offsets_must_end_at_the_number_of_rows(end: int) -> None:
    with pytest.raises(InvalidArgument, match=rf"^candidates\.media_id has 24 bytes, expected {end} rows"):
        decode_candidates(message([0, 2, end]), 2)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("author_id", b"1" * 23, "has 23 bytes, expected 3 rows of 8 bytes"),
        ("seed_account_id", b"", "has 0 bytes"),
        ("source_index", b"\0" * 4, "has 4 bytes, expected 3 rows of 1 bytes"),
        ("score", b"\0" * 24, "has 24 bytes, expected 3 rows of 4 bytes"),
    ],
)
def test_column_of_a_wrong_length_is_named(field: str, value: bytes, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"^candidates\.{field} {reason}"):
        decode_candidates(changed(field, value), 2)


@pytest.mark.parametrize(
    ("field", "values", "reason"),
    [
        ("media_id", np.array([1, 0, 3], "<i8"), r"\[1\] is 0, must be > 0"),
        ("media_id", np.array([1, 2, -(2**63)], "<i8"), r"\[2\] is -9223372036854775808, must be > 0"),
        ("author_id", np.array([-1, 2, 3], "<i8"), r"\[0\] is -1, must be > 0"),
        ("seed_account_id", np.array([0, -2, 3], "<i8"), r"\[1\] is -2, must be an account or 0"),
        ("source_index", np.array([0, 1, 2], "<u1"), r"\[2\] is 2, must be below the 2 sources"),
        ("score", np.array([0, 1, INF], "<f4"), r"\[2\] is inf, must be finite"),
        ("score", np.array([-INF, 1, 2], "<f4"), r"\[0\] is -inf, must be finite"),
    ],
)
def test_wrong_value_is_named_with_its_row(field: str, values: NDArray[Any], reason: str) -> None:
    with pytest.raises(InvalidArgument, match=rf"^candidates\.{field}{reason}"):
        decode_candidates(changed(field, values.tobytes()), 2)


@pytest.mark.parametrize("count", [1, 3])
def test_paths_of_some_sources_only_are_refused(count: int) -> None:
    wrong = message()
    wrong.source_paths[:] = ["liked"] * count
    with pytest.raises(InvalidArgument, match=rf"^candidates\.source_paths has {count} entries, must be none or 2"):
        decode_candidates(wrong, 2)


def test_paths_can_be_left_out() -> None:
    bare = encode_candidates(candidates([[1.0, 2.0]]), with_paths=False)
    assert (decode_candidates(bare, 1).source_paths, decode_candidates(bare, 1).source_path(0)) == ((), "")


def test_a_row_knows_its_source_and_its_path() -> None:
    columns = candidates([[1.0, 2.0]])
    assert [columns.source(row) for row in range(2)] == ["trending", "liked"]
    assert [columns.source_path(row) for row in range(2)] == ["trending", "liked > author > posted_media"]


def test_columns_with_paths_of_some_sources_only_are_refused() -> None:
    with pytest.raises(ValueError, match="source_paths has 1 entries, sources has 2"):
        CandidateColumns(**{**vars(candidates([[1.0]])), "source_paths": ("liked",)})


def test_more_sources_than_a_byte_can_name_are_refused() -> None:
    wrong = encode_candidates(candidates([[1.0], [2.0]]), with_paths=False)
    wrong.sources.extend(["more"] * 255)
    with pytest.raises(InvalidArgument, match=r"^candidates\.sources has 257 names, at most 256"):
        decode_candidates(wrong, 2)


def test_columns_of_different_lengths_are_refused() -> None:
    good = candidates([[1.0, 2.0]])
    with pytest.raises(ValueError, match="media_id_N has 2 rows, offsets end at 1"):
        CandidateColumns(**{**vars(good), "offsets": np.array([0, 1])})


def test_taking_rows_keeps_each_candidate_together() -> None:
    taken = candidates([[0.1, 0.2], [0.3]]).take(np.array([1, 2]), np.array([0, 1, 2]), np.array([9, 8], np.float32))
    assert taken.media_id_N.tolist() == [2, 3]
    assert taken.author_id_N.tolist() == [102, 103]
    assert taken.seed_account_id_N.tolist() == [0, 203]
    assert taken.source_index_N.tolist() == [0, 1]
    assert taken.score_N.tolist() == [9, 8]
    assert taken.source_paths == ("liked > author > posted_media", "trending")


_VALUES = {
    "media_id": st.integers(-1, 3),
    "author_id": st.integers(-1, 3),
    "seed_account_id": st.integers(-1, 3),
    "source_index": st.integers(0, 3),
    "score": st.sampled_from([0.0, -1.0, float("nan"), float("inf"), float("-inf")]),
}
_RULES: dict[str, Callable[[float], bool]] = {
    "media_id": lambda value: value > 0,
    "author_id": lambda value: value > 0,
    "seed_account_id": lambda value: value >= 0,
    "source_index": lambda value: value < 2,
    "score": lambda value: not math.isinf(value),
}


@given(st.lists(st.fixed_dictionaries(_VALUES), max_size=4))
def test_candidates_are_refused_if_one_of_their_values_is_wrong(rows: list[dict[str, float]]) -> None:
    """The rule of every value, one row after the other, against the checks of whole columns."""
    sent = Candidates(offsets=[0, len(rows)], sources=["a", "b"])
    for name, dtype in (("source_index", "<u1"), ("score", "<f4"), *((name, "<i8") for name in list(_VALUES)[:3])):
        setattr(sent, name, np.array([row[name] for row in rows], dtype).tobytes())
    if all(_RULES[name](value) for row in rows for name, value in row.items()):
        assert len(decode_candidates(sent, 1)) == len(rows)
    else:
        with pytest.raises(InvalidArgument, match=r"^candidates\.\w+\[\d\] is "):
            decode_candidates(sent, 1)

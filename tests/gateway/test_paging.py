"""Page tokens: they come back whole, and every damage is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.paging import FIRST_PAGE, MAX_SHOWN, Cursor, decode, encode
from serving.errors import InvalidArgument


def _cursor(position: int = 25, shown: tuple[int, ...] = (5, 2**62, 7)) -> Cursor:
    return Cursor(position, np.array(shown, dtype=np.int64))


def test_no_token_is_the_first_page() -> None:
    assert decode("42", "") is FIRST_PAGE


@given(st.text(min_size=1), st.integers(0, MAX_SHOWN), st.lists(st.integers(1, 2**63 - 1), max_size=60))
def test_a_token_brings_back_its_cursor(user_id: str, position: int, shown: list[int]) -> None:
    cursor = decode(user_id, encode(user_id, _cursor(position, tuple(shown))))
    assert (cursor.next_position, cursor.shown_media_id_S.tolist()) == (position, shown)


def test_a_feed_ends_where_its_token_would_grow_without_bound() -> None:
    assert encode("42", Cursor(0, np.arange(1, MAX_SHOWN + 1))) == ""


def test_the_token_of_another_user_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="belongs to another user_id"):
        decode("43", encode("42", _cursor()))


@given(st.data())
def test_a_changed_character_is_noticed(data: st.DataObject) -> None:
    token = encode("42", _cursor())
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCXYZabcxyz0129-_!é ").filter(lambda c: c != token[place]))
    with pytest.raises(InvalidArgument, match="page_token"):
        decode("42", token[:place] + other + token[place + 1 :])


@pytest.mark.parametrize(
    ("position", "shown"),
    [(2**31 - 1, (5,)), (2**32 - 1, (5,)), (MAX_SHOWN + 1, ()), (1, (0,)), (1, (5, -1)), (1, (-(2**63),))],
)
def test_a_forged_token_of_what_no_feed_can_be_is_refused(position: int, shown: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match="page_token lists what no feed"):
        decode("42", encode("42", _cursor(position, shown)))


def test_a_forged_token_that_lists_more_than_a_feed_shows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.paging.MAX_SHOWN", MAX_SHOWN + 2)
    token = encode("42", Cursor(25, np.arange(1, MAX_SHOWN + 2)))
    monkeypatch.undo()
    with pytest.raises(InvalidArgument, match="page_token lists what no feed"):
        decode("42", token)


@pytest.mark.parametrize("token", ["x", "AAAA", "%%%", "=" * 8, "A" * 100_000, "é"])
def test_nonsense_is_refused_with_the_name_of_the_field(token: str) -> None:
    with pytest.raises(InvalidArgument, match="page_token"):
        decode("42", token)

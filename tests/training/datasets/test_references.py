"""Events may only name what the other tables hold."""

from __future__ import annotations

import pytest

from tests.training.datasets.frames import events, media, users, with_value
from training.datasets.references import check_references
from training.errors import DatasetError


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("action", "poke", "unknown action; known actions: impression, click, long_view, like,"),
        ("user_id", "3", "the users table lacks this user; add the user there"),
        ("media_id", 30, "the media table lacks this media; add the media there"),
        ("author_id", 8, "the media table has another author for this media; write the same one"),
    ],
)
def test_an_event_that_refers_to_nothing_is_named(column: str, value: object, reason: str) -> None:
    with pytest.raises(DatasetError) as caught:
        check_references(users(), media(), with_value(events(), column, 1, value), "e.parquet")
    assert str(caught.value).startswith(f"e.parquet, column {column}, row 1: value {value!r}: {reason}")


def test_good_tables_pass() -> None:
    check_references(users(), media(), events(), "e.parquet")

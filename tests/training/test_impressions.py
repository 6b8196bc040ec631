"""Impressions found block by block are those that `labelled` finds in the whole log."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.actions import TASKS, Action
from tests.training.logs import Event, dataset
from training import columns
from training.columns import Scratch
from training.datasets.examples import labelled
from training.errors import FitError
from training.event_log import EventLog
from training.impressions import NO_HEAD, impressions_of

MEDIA: dict[int, str | None] = {10: "a", 11: "a", 20: "b"}
EVENTS = st.lists(
    st.builds(
        Event,
        user=st.sampled_from(["ann", "bob", "cid"]),
        media=st.sampled_from(sorted(MEDIA)),
        action=st.sampled_from(list(Action)) | st.just(Action.IMPRESSION),
        minute=st.integers(0, 30).map(float),
        request=st.sampled_from(["r1", "r2", None]),
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("chunk", [4, 1 << 19])
@given(events=EVENTS)
def test_blocks_of_users_give_the_labels_of_the_whole_log(
    tmp_path_factory: pytest.TempPathFactory, chunk: int, events: list[Event]
) -> None:
    data = dataset(events, MEDIA)
    whole = labelled(
        data.events.with_row_index("place"), columns=("user_id", "request_id", "place", "event_time", "media_id")
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(columns, "CHUNK", chunk)
        log = EventLog.from_dataset(data, Scratch(tmp_path_factory.getbasetemp(), budget=0))
        found = impressions_of(log)
    place_N = whole.frame["place"].to_numpy().astype(np.int64)
    assert np.flatnonzero(found.head_E != NO_HEAD).tolist() == place_N.tolist()
    label_NT = whole.frame.select(pl.col(task.name).cast(pl.Float32) for task in TASKS).to_numpy()
    np.testing.assert_array_equal(found.labels(place_N), label_NT)
    assert (found.n_orphans, found.n_repeats) == (whole.n_orphans, whole.n_repeats)
    assert not found.label_bits_E[found.head_E == NO_HEAD].any()


def test_what_a_user_did_before_an_impression_was_logged_belongs_to_its_request() -> None:
    """Apps may log an impression when it leaves the screen; examples are of the moment before all of their request's events."""
    events = [
        Event("ann", 10, Action.LIKE, 0, "r1"),
        Event("ann", 10, Action.IMPRESSION, 1, "r1"),
        Event("ann", 11, Action.IMPRESSION, 2, "r1"),
        Event(
            "ann", 20, Action.CLICK, 3
        ),  # names no request: what was logged before its impression is not explained by it
        Event("ann", 20, Action.IMPRESSION, 4),
    ]
    found = impressions_of(EventLog.from_dataset(dataset(events, MEDIA)))
    assert found.head_E.tolist() == [NO_HEAD, 0, 0, NO_HEAD, 4]
    assert found.labels(np.array([1, 2, 4]))[:, [task.name for task in TASKS].index("like")].tolist() == [1, 0, 0]
    assert found.n_orphans == 1


def _paged(minutes: list[float], request: str | None, user: str = "ann") -> list[Event]:
    return [Event(user, 10 + place % 2, Action.IMPRESSION, minute, request) for place, minute in enumerate(minutes)]


def test_request_ids_of_sessions_are_refused_by_user_and_time() -> None:
    minutes = [0.0, 24 * 60 + 1.0]
    with pytest.raises(
        FitError,
        match=r"user 'bob' shows media from 2025-10-09 \d\d:\d\d UTC to 2025-10-10 .* 2 of 4 impressions .* 24 h",
    ):
        impressions_of(EventLog.from_dataset(dataset(_paged([0, 1], "r1") + _paged(minutes, "r1", "bob"), MEDIA)))
    impressions_of(EventLog.from_dataset(dataset(_paged([0, 24 * 60.0], "r1"), MEDIA)))
    impressions_of(EventLog.from_dataset(dataset(_paged(minutes, None), MEDIA)))
    many = [event for page in range(99) for event in _paged([0, 1], f"p{page}", "cid")]
    impressions_of(EventLog.from_dataset(dataset(many + _paged(minutes, "r1"), MEDIA)))


def test_the_head_of_a_request_is_its_first_event() -> None:
    events = [
        Event("ann", 10, Action.IMPRESSION, 0, "r1"),
        Event("bob", 10, Action.IMPRESSION, 1, "r1"),  # another user's request of the same name
        Event("ann", 11, Action.IMPRESSION, 2, "r1"),
        Event("ann", 11, Action.IMPRESSION, 3, "r1"),  # logged again
        Event("ann", 20, Action.IMPRESSION, 4),
        Event("ann", 20, Action.IMPRESSION, 5),
        Event("ann", 20, Action.LIKE, 6),
    ]
    found = impressions_of(EventLog.from_dataset(dataset(events, MEDIA)))
    assert found.head_E.tolist() == [0, 1, 0, NO_HEAD, 4, 5, NO_HEAD]
    assert found.label_bits_E.tolist()[:5] == [0] * 5
    assert found.labels(np.array([5]))[0, [task.name for task in TASKS].index("like")] == 1

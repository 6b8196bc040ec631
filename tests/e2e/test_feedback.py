"""What users do changes their next page, through the real gateway and a real Valkey."""

from __future__ import annotations

import time

import grpc
import polars as pl
import pytest

from protos.explore.v1.feedback_pb2 import (
    Action,
    DeleteUserRequest,
    DeleteUserResponse,
    Event,
    LogEventsRequest,
    LogEventsResponse,
    StreamEventsRequest,
)
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceStub
from tests.e2e.conftest import Served

SECOND_MS = 1_000


def _log(served: Served, user_id: str, action: Action, media: list[tuple[int, int]]) -> LogEventsResponse:
    request = LogEventsRequest(events=_events(user_id, action, media))
    with grpc.insecure_channel(served.stack.ports.address("gateway")) as channel:
        return FeedbackServiceStub(channel).LogEvents(request, timeout=10)


def _events(user_id: str, action: Action, media: list[tuple[int, int]]) -> list[Event]:
    now_ms = time.time_ns() // 1_000_000
    return [
        Event(
            event_id=f"{user_id}-{Action.Name(action)}-{media_id}",
            user_id=user_id,
            media_id=media_id,
            author_id=author_id,
            action=action,
            event_time_ms=now_ms - SECOND_MS * (len(media) - place),
        )
        for place, (media_id, author_id) in enumerate(media)
    ]


def _media_of_a_busy_author(served: Served) -> list[tuple[int, int]]:
    media = served.dataset.media.filter(pl.col("non_recommendable_score") < 0.1)
    author = media.group_by("author_id").len().sort("len", "author_id", descending=True)["author_id"][0]
    return media.filter(pl.col("author_id") == author).head(5).select("media_id", "author_id").rows()


def test_likes_of_a_newcomer_make_the_next_page_personal(served: Served) -> None:
    before = served.page("newcomer")
    stored = _log(served, "newcomer", Action.ACTION_LIKE, _media_of_a_busy_author(served))
    after = served.page("newcomer", debug=True)
    sources = {candidate.source for candidate in after.debug.candidates}
    assert (before.cold_start, stored.accepted, after.cold_start) == (True, 5, False)
    assert {"similar", "engaged"} & sources


def test_an_author_whose_media_were_hidden_is_not_even_a_candidate(served: Served) -> None:
    likes = _media_of_a_busy_author(served)
    author = likes[0][1]
    _log(served, "hider", Action.ACTION_LIKE, likes[:4])
    liked = served.page("hider", debug=True)
    _log(served, "hider", Action.ACTION_HIDE, likes[4:])
    hidden = served.page("hider", debug=True)
    assert author in {candidate.author_id for candidate in liked.debug.candidates}
    assert author not in {candidate.author_id for candidate in hidden.debug.candidates}


def test_sending_events_again_changes_nothing(served: Served) -> None:
    first = _log(served, "repeater", Action.ACTION_LIKE, _media_of_a_busy_author(served))
    again = _log(served, "repeater", Action.ACTION_LIKE, _media_of_a_busy_author(served))
    assert (first.accepted, first.duplicates, again.accepted, again.duplicates) == (5, 0, 0, 5)


def test_what_was_hidden_is_off_the_very_next_page(served: Served) -> None:
    """The author of the first item of a page, not one that was chosen for it."""
    first = served.page("picky").items[0]
    _log(served, "picky", Action.ACTION_HIDE, [(first.media_id, first.author_id)])
    assert first.author_id not in {item.author_id for item in served.page("picky").items}


def test_a_stream_is_acknowledged_message_by_message(served: Served) -> None:
    likes = _media_of_a_busy_author(served)
    messages = [StreamEventsRequest(events=_events("streamer", Action.ACTION_LIKE, [liked])) for liked in likes]
    with grpc.insecure_channel(served.stack.ports.address("gateway")) as channel:
        answers = list(FeedbackServiceStub(channel).StreamEvents(iter([*messages, StreamEventsRequest()]), timeout=10))
    assert [(answer.message, answer.accepted) for answer in answers] == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 0)]
    assert answers[-1].refusal.detail == "events must hold 1 to 1000 events, got 0"
    assert not served.page("streamer").cold_start


def test_a_deleted_user_is_a_newcomer_again(served: Served) -> None:
    likes = _media_of_a_busy_author(served)
    _log(served, "leaver", Action.ACTION_LIKE, likes)
    assert not served.page("leaver").cold_start
    with grpc.insecure_channel(served.stack.ports.address("gateway")) as channel:
        stub = FeedbackServiceStub(channel)
        first, again = (stub.DeleteUser(DeleteUserRequest(user_id="leaver"), timeout=30) for _ in range(2))
    assert (first.event_ids, first.archived_events, again) == (5, 5, DeleteUserResponse())
    directory = served.plan.funnel_log
    assert directory is not None
    assert all("leaver" not in pl.read_parquet(file)["user_id"] for file in directory.glob("funnel-*.parquet"))
    assert served.page("leaver").cold_start
    assert _log(served, "leaver", Action.ACTION_LIKE, likes).accepted == 5


def test_a_wrong_event_is_named(served: Served) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        _log(served, "", Action.ACTION_LIKE, [(7, 3)])
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert (caught.value.details() or "").startswith("events[0].user_id")

"""FeedbackService: what users did, and how they stand to accounts. A call is checked as a whole and changes user state at once.

What is acknowledged has been stored as durably as `features.durability` is asked to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import grpc
import valkey.exceptions

from features.durability import NotDurable
from features.event_journal import EventJournal
from gateway.clock import Clock
from gateway.feedback_checks import check_changes, check_events, check_user
from gateway.ordered_answers import answers
from protos.explore.v1.feedback_pb2 import (
    DeleteUserRequest,
    DeleteUserResponse,
    Event,
    LogEventsRequest,
    LogEventsResponse,
    Refusal,
    RefusalReason,
    SetRelationsRequest,
    SetRelationsResponse,
    StreamEventsRequest,
    StreamEventsResponse,
)
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceServicer
from serving.errors import InvalidArgument, NotReady, Overloaded, Unavailable

IN_FLIGHT = 8  # messages of one stream that are being stored at a time: they share fsyncs, and hold up to 16 MB each

DELETIONS = 4  # that work at a time; those that wait for the end of pages are as many as there are

T = TypeVar("T")
ForgetLogged = Callable[[str], Awaitable[int]]


@dataclass(frozen=True)
class Clocks:
    """Devices say when something happened by the time of day. Where the cascade runs on another clock (docs/decisions/0004), their
    times are moved onto it, since user state is read by the cascade's clock."""

    cascade: Clock
    time_of_day: Clock


async def nothing_logged(user_id: str) -> int:
    """Without a funnel log, no rows are there to be removed."""
    return 0


class FeedbackServicer(FeedbackServiceServicer):
    """Writes events and relations to the journal."""

    def __init__(
        self, journal: EventJournal, clocks: Clocks, forget_logged: ForgetLogged = nothing_logged, page_s: float = 0.0
    ) -> None:
        """`forget_logged` removes a user's rows from the funnel log and returns how many there were; `page_s`: the longest that any
        gateway makes a page for."""
        self._journal, self._clocks, self._forget_logged, self._page_s = journal, clocks, forget_logged, page_s
        self._deleting = asyncio.Semaphore(DELETIONS)

    async def LogEvents(
        self, request: LogEventsRequest, context: grpc.aio.ServicerContext[LogEventsRequest, LogEventsResponse]
    ) -> LogEventsResponse:
        """Stores all events or, if one is wrong, none. Safe to send again: an event id counts once."""
        accepted = await self._record(request.events)
        return LogEventsResponse(accepted=accepted, duplicates=len(request.events) - accepted)

    async def StreamEvents(
        self,
        request_iterator: AsyncIterator[StreamEventsRequest],
        context: grpc.aio.ServicerContext[StreamEventsRequest, StreamEventsResponse],
    ) -> AsyncIterator[StreamEventsResponse]:
        """Stores each message as LogEvents would, and answers each in order; a refused one is answered with the reason."""
        async for response in answers(aiter(request_iterator), self._answer, IN_FLIGHT):
            yield response

    async def SetRelations(
        self, request: SetRelationsRequest, context: grpc.aio.ServicerContext[SetRelationsRequest, SetRelationsResponse]
    ) -> SetRelationsResponse:
        """Stores all changes or, if one is wrong, none. Safe to send again: the last word on an account counts."""
        by_user = check_changes(request.changes)
        await _stored(self._journal.relate(by_user), "send the same changes again")
        return SetRelationsResponse()

    async def DeleteUser(
        self, request: DeleteUserRequest, context: grpc.aio.ServicerContext[DeleteUserRequest, DeleteUserResponse]
    ) -> DeleteUserResponse:
        """Removes everything of a user, state first, so that no page is made of it any more. Safe to repeat.

        Pages that are being made of it meanwhile will be remembered and logged: it waits for their end, and removes that too.
        """
        user = check_user(request.user_id, "user_id")
        removed: dict[str, int] = {}

        async def step(work: Awaitable[T], where: str = "user_state") -> T:
            found = ", ".join(f"{count} {name}" for name, count in removed.items()) or "nothing"
            return await _stored(work, f"removed so far: {found}; call again to remove the rest", where)

        async with self._deleting:
            state = await step(self._journal.forget(user))
            removed |= {"state_fields": state.state_fields, "event_ids": state.event_ids, "exposures": state.exposures}
            removed["archived_events"] = await step(self._journal.forget_archived(user))
        await asyncio.sleep(self._page_s)
        async with self._deleting:
            late = await step(self._journal.forget(user))
            removed["state_fields"] += late.state_fields
            removed["event_ids"] += late.event_ids
            removed["exposures"] += late.exposures
            removed["funnel_rows"] = await step(self._forget_logged(user), "funnel_log")
        return DeleteUserResponse(**removed)

    async def _answer(self, place: int, request: StreamEventsRequest | InvalidArgument) -> StreamEventsResponse:
        try:
            if isinstance(request, InvalidArgument):
                raise request
            accepted = await self._record(request.events)
        except (InvalidArgument, NotReady, Unavailable) as error:
            invalid = isinstance(error, InvalidArgument)
            reason = RefusalReason.REFUSAL_REASON_INVALID if invalid else RefusalReason.REFUSAL_REASON_UNAVAILABLE
            return StreamEventsResponse(message=place, refusal=Refusal(reason=reason, detail=str(error)))
        return StreamEventsResponse(message=place, accepted=accepted, duplicates=len(request.events) - accepted)

    async def _record(self, events: Iterable[Event]) -> int:
        now_ms = self._clocks.time_of_day()
        by_user = check_events(events, now_ms, self._clocks.cascade() - now_ms)
        return await _stored(self._journal.record(by_user), "send the same events again")


async def _stored(work: Awaitable[T], remedy: str, where: str = "user_state") -> T:
    """What the work returns. Raises Unavailable: some of it may be done already, but all of it may be done again."""
    try:
        return await work
    except NotDurable as error:
        raise Unavailable(where, f"{error}; {remedy}") from error
    except (valkey.exceptions.ValkeyError, OSError, Overloaded) as error:  # a TimeoutError is an OSError
        raise Unavailable(where, f"{type(error).__name__}; {remedy}") from error

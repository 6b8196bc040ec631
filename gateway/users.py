"""What the gateway knows of the user of a request: read once, in one round trip; written once, when the page is known."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import valkey.exceptions
from numpy.typing import NDArray

from features.context import UserContexts, newest
from features.exposures import Exposure
from features.user_state import EMPTY, UserState, UserStateStore
from gateway.feed import FeedRequest, Reason
from gateway.trace import StageRun, Trace
from protos.explore.v1.user_context_pb2 import UserContext
from serving.deadline import Budget
from serving.wire import SeenMedia, encode_contexts

STATE = "user_state"  # name in degradations
READ, WRITE = "user_state_read", "user_state_write"  # names in telemetry
_NOT_PERSONAL = "page is not personal, and knows of no muted or blocked account"
_LOAD_SHARE = 0.4  # of the time that a request has left, at most: a store that hangs leaves the stages some
_REMEMBER_SHARE = 0.5  # of the time left after the page was made: it must still be sent


@dataclass(frozen=True)
class FeedUser:
    """The user at the moment of the request. `seen_S` are the media that may not be shown (again)."""

    contexts: UserContexts
    seen_S: NDArray[np.int64]
    last_visit_ms: int | None = None  # None: there was none, or it is not known
    _encoded: dict[int, list[UserContext]] = field(default_factory=dict, repr=False, compare=False)

    def messages(self, history: int) -> list[UserContext]:
        """The user as ranking stages get it, with the newest `history` actions; encoded once per length."""
        if history not in self._encoded:
            self._encoded[history] = encode_contexts(newest(self.contexts, history))
        return self._encoded[history]

    def messages_for_sourcing(self, history: int) -> list[UserContext]:
        """The user as retrieval gets it: with the relations to accounts, and with what was seen."""
        seen = SeenMedia(np.array([0, len(self.seen_S)], dtype=np.int64), self.seen_S)
        return encode_contexts(newest(self.contexts, history), seen)

    @property
    def cold(self) -> bool:
        """No action history: nothing can be personal."""
        return len(self.contexts.history_media_id_H) == 0


class Users:
    """Loads users and remembers what they were shown. A state store that is lost or late degrades the page, it never fails it."""

    def __init__(self, store: UserStateStore, timeout_s: float) -> None:
        self._store, self._timeout_s = store, timeout_s

    async def load(self, request: FeedRequest, budget: Budget, trace: Trace) -> FeedUser:
        """The user; one without history if the store cannot be read, and then the trace says so."""
        state, timeout_s = EMPTY, min(self._timeout_s, budget.share(_LOAD_SHARE))
        with trace.step(StageRun(READ)):
            try:
                async with _at_most(timeout_s):
                    state = await self._store.read(request.user_id)
            except TimeoutError:
                detail = f"no answer within {timeout_s * 1000:.0f} ms; {_NOT_PERSONAL}"
                trace.degrade(STATE, Reason.DEADLINE, detail)
            except (valkey.exceptions.ValkeyError, OSError) as error:
                trace.degrade(STATE, Reason.UNAVAILABLE, f"{type(error).__name__}; {_NOT_PERSONAL}")
        return _at_request(state, request)

    async def remember(self, request: FeedRequest, exposure: Exposure, budget: Budget, trace: Trace) -> None:
        """Marks a page as shown. If that fails, later pages of this feed still know it from their token."""
        if len(exposure.media_id_K) == 0:
            return
        with trace.step(StageRun(WRITE)):
            try:
                timeout_s = min(self._timeout_s, budget.remaining() * _REMEMBER_SHARE)
                async with _at_most(timeout_s):
                    await self._store.remember(exposure)
            except TimeoutError:
                trace.degrade(STATE, Reason.DEADLINE, "the page was not remembered; a new feed may repeat it")
            except (valkey.exceptions.ValkeyError, OSError) as error:
                trace.degrade(STATE, Reason.UNAVAILABLE, f"{type(error).__name__}; a new feed may repeat this page")


def _at_request(state: UserState, request: FeedRequest) -> FeedUser:
    contexts = state.context(request.user_id, request.time_ms, request.surface)
    return FeedUser(contexts, without_doubles(state.seen_S, request.cursor.shown_media_id_S), _last_visit_ms(state))


def _at_most(timeout_s: float) -> asyncio.Timeout:
    """As `asyncio.timeout`, but without time nothing begins. (`asyncio.wait_for` would make every read and write a task.)"""
    if not timeout_s > 0:
        raise TimeoutError
    return asyncio.timeout(timeout_s)


def without_doubles(seen_S: NDArray[np.int64], shown_S: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each media once, in order: `np.union1d` by sorting alone, which takes a fraction of its time."""
    both_S = np.concatenate([seen_S, shown_S])
    both_S.sort()
    first_S = np.ones(len(both_S), dtype=np.bool_)
    first_S[1:] = both_S[1:] != both_S[:-1]
    return both_S[first_S]


def _last_visit_ms(state: UserState) -> int | None:
    """The time of the newest event, impressions among them: state does not keep when pages were made."""
    newest_ms = max(state.recent.as_of_ms, int(state.history_H["time_ms"].max(initial=0)))
    return newest_ms or None

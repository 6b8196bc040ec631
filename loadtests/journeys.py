"""What visitors do: open the feed, page on, look, like, save, hide, leave, come back. One request each time somebody arrives.

Requests come when they are due, whatever became of those before: whoever is ready takes the next one.
"""

from __future__ import annotations

import heapq
import random
import time
import uuid
from dataclasses import dataclass, field
from itertools import count

from loadtests.client import ExploreClient
from loadtests.traffic import Browsing, Kind, Population, Traffic
from protos.explore.v1.feed_pb2 import FeedItem, GetFeedRequest, GetFeedResponse
from protos.explore.v1.feedback_pb2 import (
    ACTION_HIDE,
    ACTION_IMPRESSION,
    ACTION_LIKE,
    ACTION_SAVE,
    Action,
    Event,
)

SURFACE = "explore"
_ACTIONS: dict[Kind, Action] = {"like": ACTION_LIKE, "save": ACTION_SAVE, "hide": ACTION_HIDE}


@dataclass
class Visitor:
    """Somebody with a page before them. `shown`: media of this feed so far, in order."""

    user_id: str
    page: GetFeedResponse
    shown: list[int] = field(default_factory=list)

    def events(self, action: Action, items: list[FeedItem]) -> list[Event]:
        """What the visitor did with items of the page."""
        now_ms = time.time_ns() // 1_000_000
        return [
            Event(
                event_id=uuid.uuid4().hex,
                user_id=self.user_id,
                media_id=item.media_id,
                author_id=item.author_id,
                action=action,
                event_time_ms=now_ms,
                request_id=self.page.request_id,
                position=item.position,
                surface=SURFACE,
            )
            for item in items
        ]


class Waiting:
    """Visitors who read, or are away, each until some moment."""

    def __init__(self) -> None:
        self._by_time: list[tuple[float, int, Visitor]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self._by_time)

    def add(self, visitor: Visitor, until: float) -> None:
        """Not before `until`."""
        heapq.heappush(self._by_time, (until, next(self._order), visitor))

    def take(self, now: float) -> Visitor | None:
        """The one who has been ready for longest; None if nobody is."""
        return heapq.heappop(self._by_time)[2] if self._by_time and self._by_time[0][0] <= now else None


class Audience:
    """Everybody, and where they stand."""

    def __init__(self, traffic: Traffic, population: Population, client: ExploreClient, rng: random.Random) -> None:
        self._traffic, self._population, self._client, self._rng = traffic, population, client, rng
        self._reading, self._away = Waiting(), Waiting()

    def arrive(self, due: float) -> None:
        """Makes one request of the mix, and returns when it has ended. `due`: by time.perf_counter()."""
        kind, visitor = self._traffic.draw(self._rng), None
        if kind == "come_back":
            visitor = self._away.take(due)
        elif kind != "open":
            visitor = self._reading.take(due)
        if visitor is None:
            self._open(self._population.draw(), due)
        elif kind == "come_back":
            self._open(visitor.user_id, due)
        elif kind == "page_on":
            self._page_on(visitor, due)
        else:
            self._log(kind, visitor, due)

    def _open(self, user_id: str, due: float) -> None:
        request = GetFeedRequest(user_id=user_id, page_size=self._habits.page_size, surface=SURFACE)
        page = self._client.page(request, due)
        if page is not None:
            self._read(Visitor(user_id, page, [item.media_id for item in page.items]))

    def _page_on(self, visitor: Visitor, due: float) -> None:
        if not visitor.page.next_page_token:  # the feed is at its end: the visitor starts anew
            return self._open(visitor.user_id, due)
        request = GetFeedRequest(
            user_id=visitor.user_id,
            page_size=self._habits.page_size,
            page_token=visitor.page.next_page_token,
            surface=SURFACE,
        )
        page = self._client.page(request, due, visitor.shown)
        if page is None:  # and so does one whose page did not come
            return self._leave(visitor)
        visitor.page = page
        visitor.shown += [item.media_id for item in page.items]
        return self._read(visitor)

    def _log(self, kind: Kind, visitor: Visitor, due: float) -> None:
        items = list(visitor.page.items)
        if kind == "see":
            events = visitor.events(ACTION_IMPRESSION, items)
        else:
            events = visitor.events(_ACTIONS[kind], [self._rng.choice(items)])
        self._client.log_events(kind, events, due)
        self._read(visitor)

    def _read(self, visitor: Visitor) -> None:
        self._reading.add(visitor, time.perf_counter() + self._some_time(self._habits.reading_s))
        if len(self._reading) > self._habits.browsing:
            longest = self._reading.take(float("inf"))
            assert longest is not None
            self._leave(longest)

    def _leave(self, visitor: Visitor) -> None:
        self._away.add(visitor, time.perf_counter() + self._some_time(self._habits.away_s))
        if len(self._away) > self._habits.browsing:
            self._away.take(float("inf"))

    def _some_time(self, mean_s: float) -> float:
        return self._rng.expovariate(1 / mean_s) if mean_s > 0 else 0.0

    @property
    def _habits(self) -> Browsing:
        return self._traffic.browsing

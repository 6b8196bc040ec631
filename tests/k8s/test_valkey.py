"""The Valkey of our own when it is full: it refuses what would add to it, long before the kernel would end it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from valkey.asyncio import Valkey

from features.durability import Durability, DurableWrites
from features.event_journal import EventJournal
from features.user_state import UserStateStore
from gateway.feed import Reason
from gateway.feedback import Clocks, FeedbackServicer
from gateway.trace import Trace
from gateway.users import Users
from protos.explore.v1.feedback_pb2 import LogEventsRequest
from serving.deadline import Budget
from serving.errors import Unavailable
from tests.gateway.feedbacks import event
from tests.gateway.feeds import NOW_MS, exposure, feed_request
from tests.k8s.manifests import overlay
from tests.k8s.test_own_monitoring import pod_of, text_of
from tests.k8s.test_pods import quantity

CONTEXT: Any = None  # the servicer asks its context for nothing


def settings() -> dict[str, str]:
    """Valkey's configuration, as the manifests give it."""
    lines = text_of(overlay("local"), "valkey", "valkey.conf").splitlines()
    return {name: value for name, _, value in (line.partition(" ") for line in lines if not line.startswith("#"))}


@pytest.fixture
async def full(durable_valkey: Valkey) -> AsyncIterator[Valkey]:
    """A server that knows a user, and has no room for more."""
    feedback = _feedback(durable_valkey)
    await feedback.LogEvents(LogEventsRequest(events=[event(event_time_ms=NOW_MS - 1)]), CONTEXT)
    await durable_valkey.config_set("maxmemory-policy", settings()["maxmemory-policy"])
    await durable_valkey.config_set("maxmemory", 1)
    yield durable_valkey
    await durable_valkey.config_set("maxmemory", 0)


def _feedback(client: Valkey) -> FeedbackServicer:
    journal = EventJournal(DurableWrites(client, Durability.AOF, 5.0))
    return FeedbackServicer(journal, Clocks(lambda: NOW_MS, lambda: NOW_MS))


def test_what_it_may_hold_leaves_room_for_a_rewrite_of_its_file() -> None:
    """Which copies what changes meanwhile, at worst all of it."""
    (server,) = pod_of(overlay("local"), "valkey").containers()
    found = settings()
    assert found["maxmemory-policy"] == "noeviction"  # user state is never given up
    megabytes = int(found["maxmemory"].removesuffix("mb"))
    assert 2 * megabytes * 2**20 <= quantity(server["resources"]["limits"]["memory"])


async def test_a_full_server_refuses_feedback_so_that_it_is_sent_again(full: Valkey) -> None:
    with pytest.raises(Unavailable, match="send the same events again"):
        await _feedback(full).LogEvents(LogEventsRequest(events=[event(event_id="e2", media_id=8)]), CONTEXT)
    await full.config_set("maxmemory", 0)
    again = await _feedback(full).LogEvents(LogEventsRequest(events=[event(event_id="e2", media_id=8)]), CONTEXT)
    assert (again.accepted, again.duplicates) == (1, 0)


async def test_a_full_server_still_knows_its_users_and_forgets_their_pages(full: Valkey) -> None:
    users, trace = Users(UserStateStore(full), timeout_s=5.0), Trace(False)
    user = await users.load(feed_request(), Budget(60.0), trace)
    assert (user.cold, trace.degradations) == (False, [])
    await users.remember(feed_request(), exposure(5), Budget(60.0), trace)
    assert [each.reason for each in trace.degradations] == [Reason.UNAVAILABLE]

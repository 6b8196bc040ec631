"""Requests that share calls: who waits, who goes together, and that nobody pays for a neighbour."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos.explore.v1.ranking_pb2 import RankResponse
from serving.call_policy import CallPolicy
from serving.coalescing import Coalescer
from serving.columns import Ranked
from serving.errors import (
    BundleNotHeld,
    DeadlineExceeded,
    Overloaded,
    StageContractViolation,
    StageFailed,
    Unavailable,
)
from serving.testing import FakeClock
from serving.wire import RankAsk
from serving.wire.joining import RankJoining
from tests.serving.batches import rank_ask, user
from tests.serving.replicas import all_rows

TIMEOUT_S = 10.0
BATCHING = CallPolicy(hedge_quantile=None, calls_per_endpoint=1)


class Stage:
    """A stage whose calls return when the test says so, in any order."""

    def __init__(self, width: int = 1, **policy: Any) -> None:
        self.calls: list[tuple[RankAsk, float, asyncio.Future[Ranked]]] = []
        self.cancelled = 0
        self.clock = FakeClock()
        rules = BATCHING.model_copy(update=policy)
        self.coalescer = Coalescer("rank", self._send, RankJoining(), lambda: width, rules, self.clock)
        self.counts = self.coalescer.counts

    async def _send(self, request: RankAsk, timeout_s: float) -> Ranked:
        told = asyncio.get_running_loop().create_future()
        self.calls.append((request, timeout_s, told))
        try:
            return await told
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def users(self) -> list[list[str]]:
        """The users of every call so far."""
        return [[each.user_id for each in request.users] for request, _, _ in self.calls]

    async def finish(self, call: int, error: Exception | None = None) -> None:
        """Lets a call return, and whoever waits for that react."""
        request, _, told = self.calls[call]
        if error is None:
            told.set_result(request.answer(await all_rows(request.message(), None), "rank"))
        else:
            told.set_exception(error)
        await settle()

    async def asks(self, *requests: RankAsk, timeout_s: float = TIMEOUT_S) -> list[asyncio.Task[Ranked]]:
        """Asks them in this order, one after the other."""
        tasks = []
        for request in requests:
            tasks.append(self.asks_now(request, timeout_s))
            await settle()
        return tasks

    def asks_now(self, request: RankAsk, timeout_s: float = TIMEOUT_S) -> asyncio.Task[Ranked]:
        """Asks in this turn of the event loop, with all others that do."""
        return asyncio.create_task(self.coalescer.call(request, timeout_s))


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


def asking(name: str, rows: int = 1, version: str = "") -> RankAsk:
    return replace(rank_ask([[1.0] * rows]), users=[user(name)], bundle_version=version)


async def test_a_lone_request_is_sent_as_it_is_when_the_turn_of_the_loop_is_over() -> None:
    stage, request = Stage(), asking("a")
    asked = stage.asks_now(request)
    for _ in range(2):
        await asyncio.sleep(0)
    assert stage.calls[0][0] is request
    await stage.finish(0)
    assert (await asked).offsets.tolist() == [0, 1]
    assert stage.counts.batches == 0


async def test_those_of_one_turn_of_the_loop_leave_together_though_nothing_is_out() -> None:
    """As pages do whose answers of the stage before came in one call: with the first gone ahead, the others would wait for it."""
    stage = Stage()
    asked = [stage.asks_now(asking(name, rows)) for rows, name in enumerate("abc")]
    await settle()
    assert stage.users() == [["a", "b", "c"]]
    await stage.finish(0)
    assert [list((await answer).offsets) for answer in asked] == [[0, 0], [0, 1], [0, 2]]


async def test_the_first_of_a_turn_keeps_its_place_before_those_that_do_not_fit_into_its_call() -> None:
    stage = Stage(batch_users=2)
    other = asking("b", version="v1")
    for request in (asking("a"), other, asking("c"), asking("d")):
        stage.asks_now(request)
    await settle()
    for call in range(2):
        await stage.finish(call)
    assert stage.users() == [["a", "c"], ["b"], ["d"]]
    await stage.coalescer.close()


async def test_the_first_of_a_turn_whose_caller_goes_leaves_its_place_to_the_others() -> None:
    stage = Stage()
    gone, *stay = [stage.asks_now(asking(name)) for name in "abc"]
    await asyncio.sleep(0)  # all have asked, none was sent
    gone.cancel()
    await settle()
    assert stage.users() == [["b", "c"]]
    await stage.finish(0)
    assert [list((await answer).offsets) for answer in stay] == [[0, 1], [0, 1]]


async def test_what_comes_while_a_call_is_out_leaves_together_when_it_returns() -> None:
    stage = Stage()
    asked = await stage.asks(*(asking(name, rows) for rows, name in enumerate("abcd")))
    assert stage.users() == [["a"]]
    await stage.finish(0)
    assert stage.users() == [["a"], ["b", "c", "d"]]
    await stage.finish(1)
    assert [list((await answer).offsets) for answer in asked] == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert (stage.counts.batches, stage.counts.batched) == (1, 3)


async def test_as_many_calls_are_out_as_there_is_width() -> None:
    stage = Stage(width=2)
    await stage.asks(*(asking(name) for name in "abcd"))
    assert stage.users() == [["a"], ["b"]]
    await stage.finish(1)
    assert stage.users() == [["a"], ["b"], ["c", "d"]]
    await stage.coalescer.close()


async def test_requests_for_another_bundle_or_with_features_go_apart() -> None:
    stage = Stage()
    features = replace(asking("f", version="v1"), with_features=True)
    await stage.asks(
        asking("a"), asking("b", version="v1"), features, asking("c", version="v2"), asking("d", version="v1")
    )
    for call in range(4):
        await stage.finish(call)
    assert stage.users() == [["a"], ["b", "d"], ["f"], ["c"]]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"batch_users": 2}, [["a"], ["b", "c"], ["d", "e"]]),
        ({"batch_mb": 1e-9}, [["a"], ["b"], ["c"], ["d"], ["e"]]),
    ],
)
async def test_a_call_holds_only_so_much(policy: dict[str, Any], expected: list[list[str]]) -> None:
    stage = Stage(**policy)
    await stage.asks(*(asking(name) for name in "abcde"))
    for call in range(len(expected)):
        await stage.finish(call)
    assert stage.users() == expected


async def test_a_shared_call_has_the_time_of_its_most_patient_member_and_each_keeps_its_own() -> None:
    stage = Stage()
    first, *_ = await stage.asks(asking("a"))
    (hasty,) = await stage.asks(asking("b"), timeout_s=0.01)
    (patient,) = await stage.asks(asking("c"), timeout_s=60.0)
    await stage.finish(0)
    assert 50.0 < stage.calls[1][1] <= 60.0
    with pytest.raises(DeadlineExceeded, match="rank did not answer within 10 ms"):
        await hasty
    await stage.finish(1)
    assert (await first, await patient)[1].offsets.tolist() == [0, 1]


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("nan")])
async def test_a_request_without_time_is_not_queued(timeout_s: float) -> None:
    stage = Stage()
    (asked,) = await stage.asks(asking("a"), timeout_s=timeout_s)
    with pytest.raises(DeadlineExceeded):
        await asked
    assert stage.calls == []


async def test_a_request_whose_time_ends_or_whose_caller_goes_while_it_waits_costs_no_work() -> None:
    stage = Stage()
    await stage.asks(asking("a"))
    (late,) = await stage.asks(asking("b"), timeout_s=1e-3)
    gone, stays = await stage.asks(asking("c"), asking("d"))
    gone.cancel()
    with pytest.raises(DeadlineExceeded):
        await late
    await stage.finish(0)
    assert stage.users() == [["a"], ["d"]]
    await stage.finish(1)
    assert (await stays).offsets.tolist() == [0, 1]


@pytest.mark.parametrize("answered", [True, False])
async def test_whoever_cannot_be_served_in_time_any_more_makes_room_before_any_work(answered: bool) -> None:
    stage = Stage()
    for call in range(20):  # a call takes two seconds, or more than its caller would wait
        (asked,) = await stage.asks(asking("a"))
        stage.clock.advance(2.0)
        await stage.finish(call) if answered else asked.cancel()
        await settle()
    await stage.asks(asking("b"))
    (hopeless,) = await stage.asks(asking("c"), timeout_s=100.0)
    (served,) = await stage.asks(asking("d"), timeout_s=101.1)
    stage.clock.advance(99.0)
    await stage.finish(20)
    with pytest.raises(DeadlineExceeded, match="rank did not answer within 100000 ms"):
        await hopeless
    assert (stage.users()[20:], stage.counts.hopeless) == ([["b"], ["d"]], 1)
    await stage.finish(21)
    assert (await served).offsets.tolist() == [0, 1]


async def test_a_stage_that_is_fast_again_is_believed_soon() -> None:
    stage = Stage()
    for call in range(164):
        await stage.asks(asking("a"))
        stage.clock.advance(2.0 if call < 100 else 0.01)
        await stage.finish(call)
    await stage.asks(asking("b"))
    (queued,) = await stage.asks(asking("c"), timeout_s=1.0)
    await stage.finish(164)
    await stage.finish(165)
    assert (await queued).offsets.tolist() == [0, 1]


async def test_a_stage_that_seemed_too_slow_for_everybody_is_asked_again_once_nothing_is_out() -> None:
    """Who is given up teaches nothing: a stage that hung for a while would stay too slow for ever."""
    stage = Stage()
    for _ in range(20):
        (asked,) = await stage.asks(asking("a"))
        stage.clock.advance(5.0)
        asked.cancel()
        await settle()
    hurried = [stage.asks_now(asking(name), timeout_s=1.0) for name in "bcd"]
    await settle()
    assert (stage.users()[20:], stage.counts.hopeless) == ([["b", "c", "d"]], 0)
    await stage.finish(20)
    assert [(await each).offsets.tolist() for each in hurried] == [[0, 1]] * 3


async def test_a_call_ends_when_the_last_of_its_members_has_gone() -> None:
    stage = Stage()
    _, *members = await stage.asks(*(asking(name) for name in "abc"))
    await stage.finish(0)
    members[0].cancel()
    await settle()
    assert stage.cancelled == 0
    members[1].cancel()
    await settle()
    assert stage.cancelled == 1
    (after,) = await stage.asks(asking("d"))  # the call has made room
    await stage.finish(2)
    assert (await after).offsets.tolist() == [0, 1]


async def test_a_lone_call_ends_with_its_caller_and_makes_room() -> None:
    stage = Stage()
    first, second = await stage.asks(asking("a"), asking("b"))
    first.cancel()
    await settle()
    assert (stage.cancelled, stage.users()) == (1, [["a"], ["b"]])
    await stage.finish(1)
    assert (await second).offsets.tolist() == [0, 1]


@pytest.mark.parametrize(
    "error",
    [
        StageFailed("rank", grpc.StatusCode.INVALID_ARGUMENT, "users[1]"),
        StageFailed("rank", grpc.StatusCode.INTERNAL, "boom"),
        BundleNotHeld("", ()),
    ],
)
async def test_what_may_be_one_members_fault_is_asked_again_one_by_one(error: Exception) -> None:
    stage = Stage()
    asked = await stage.asks(*(asking(name) for name in "abcd"))
    await stage.finish(0)
    (behind,) = await stage.asks(asking("e"))
    await stage.finish(1, error)
    await stage.finish(2)
    await stage.finish(3, error)
    await stage.finish(4)
    await stage.finish(5)
    assert stage.users() == [["a"], ["b", "c", "d"], ["b"], ["c"], ["d"], ["e"]]
    outcomes = await asyncio.gather(*asked, behind, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [
        Ranked,
        Ranked,
        type(error),
        Ranked,
        Ranked,
    ]


async def test_an_answer_that_fits_nobody_is_asked_for_again_one_by_one() -> None:
    stage = Stage()
    _, *members = await stage.asks(*(asking(name) for name in "abc"))
    await stage.finish(0)
    with pytest.raises(StageContractViolation) as violation:
        stage.calls[1][0].answer(RankResponse(offsets=[0, 0]), "rank")
    await stage.finish(1, violation.value)
    for call in (2, 3):
        await stage.finish(call)
    assert [list((await member).offsets) for member in members] == [[0, 1], [0, 1]]


@pytest.mark.parametrize("error", [Unavailable("rank", "gone"), Overloaded("rank: full"), TypeError("bug")])
async def test_what_is_nobodys_fault_is_everybodys_answer(error: Exception) -> None:
    stage = Stage()
    _, *members = await stage.asks(*(asking(name) for name in "abc"))
    await stage.finish(0)
    await stage.finish(1, error)
    assert await asyncio.gather(*members, return_exceptions=True) == [error, error]
    assert len(stage.calls) == 2


async def test_only_so_many_wait() -> None:
    stage = Stage(max_waiting=2)
    *_, turned_away = await stage.asks(*(asking(name) for name in "abcd"))
    with pytest.raises(Overloaded, match="rank: 2 requests wait for it already"):
        await turned_away
    await stage.coalescer.close()


async def test_closing_tells_whoever_waits() -> None:
    stage = Stage(width=2)
    *_, shared, another = await stage.asks(*(asking(name) for name in "abcd"))
    await stage.finish(0)
    (queued,) = await stage.asks(asking("e"))
    await stage.coalescer.close()
    for waiter in (shared, another, queued):
        with pytest.raises(Unavailable, match="closing"):
            await waiter


steps = st.lists(st.sampled_from(["ask", "ask", "finish", "fail", "cancel"]), max_size=40)


@settings(max_examples=50)
@given(steps, st.integers(1, 3), st.integers(2, 4), st.integers(0, 2**32))
def test_in_any_order_everybody_gets_an_own_answer_and_no_call_is_one_too_many(
    steps: Sequence[str], width: int, batch_users: int, seed: int
) -> None:
    async def play() -> None:
        random = Random(seed)
        stage = Stage(width, batch_users=batch_users)
        asked: dict[int, asyncio.Task[Ranked]] = {}
        out = deque[int]()
        for number, step in enumerate(steps):
            if step == "ask":
                (asked[number],) = await stage.asks(asking(str(number), rows=number))
            elif step == "cancel" and asked:
                asked.pop(random.choice(list(asked))).cancel()
                await settle()
            elif step in {"finish", "fail"} and out:
                position = random.randrange(len(out))
                call = out[position]
                del out[position]
                failed = StageFailed("rank", grpc.StatusCode.INTERNAL, "boom")
                await stage.finish(call, failed if step == "fail" and len(stage.calls[call][0].users) > 1 else None)
            out = deque(call for call in range(len(stage.calls)) if not stage.calls[call][2].done())
            assert len(out) <= width
            assert all(len(request.users) <= batch_users for request, _, _ in stage.calls)
        while open_calls := [call for call in range(len(stage.calls)) if not stage.calls[call][2].done()]:
            await stage.finish(open_calls[0])
        for number, answer in asked.items():
            assert list((await answer).offsets) == [0, number]

    asyncio.run(play())

"""A stream's messages and their answers: order, bound, and what becomes of both when one side goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.ordered_answers import answers
from serving.errors import InvalidArgument


class Sender:
    """Sends 0, 1, 2 ..., and knows how many of them were read."""

    def __init__(self, count: int, wrong: int = -1) -> None:
        self.count, self.wrong, self.read = count, wrong, 0

    def __aiter__(self) -> Sender:
        return self

    async def __anext__(self) -> int:
        if self.read == self.count:
            raise StopAsyncIteration
        self.read += 1
        if self.read - 1 == self.wrong:
            raise InvalidArgument("message", "is wrong")
        return self.read - 1


async def _named(place: int, message: int | InvalidArgument) -> str:
    return f"{place}: {message}"


async def test_answers_have_the_order_of_the_messages_whichever_is_ready_first() -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def answer(place: int, message: int | InvalidArgument) -> int:
        if place < 2:
            await gates[place + 1].wait()
        gates[place].set()
        return place

    assert [each async for each in answers(Sender(3), answer, 3)] == [0, 1, 2]


@pytest.mark.parametrize("in_flight", [1, 4])
async def test_no_more_messages_are_read_than_may_be_unanswered(in_flight: int) -> None:
    sender = Sender(100)
    stream = answers(sender, _named, in_flight)
    for taken in range(1, 20):
        await anext(stream)
        assert sender.read <= taken - 1 + in_flight
    await _close(stream)


async def test_a_wrong_message_is_one_of_many() -> None:
    found = [each async for each in answers(Sender(3, wrong=1), _named, 2)]
    assert found == ["0: 0", "1: message is wrong", "2: 2"]


async def test_no_messages_have_no_answers() -> None:
    assert [each async for each in answers(Sender(0), _named, 2)] == []


async def test_what_is_being_answered_ends_with_the_caller() -> None:
    cancelled: list[int] = []

    async def answer(place: int, message: int | InvalidArgument) -> int:
        if place == 0:
            return 0
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(place)
            raise
        return place

    stream = answers(Sender(5), answer, 3)
    await anext(stream)
    await _close(stream)
    assert sorted(cancelled) in ([1, 2], [])  # those that had begun; none, if none had


async def test_a_bug_in_an_answer_is_raised() -> None:
    async def answer(place: int, message: int | InvalidArgument) -> int:
        raise KeyError(place)

    with pytest.raises(KeyError):
        await anext(answers(Sender(5), answer, 3))


async def test_a_broken_sender_is_raised_after_the_answers() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise RuntimeError("gone")

    stream = answers(broken(), _named, 3)
    assert await anext(stream) == "0: 1"
    with pytest.raises(RuntimeError, match="gone"):
        await anext(stream)


async def _close(stream: AsyncIterator[object]) -> None:
    await stream.aclose()  # type: ignore[attr-defined]

"""Answers the messages of a stream in their order, several at a time but never more than a bound. Knows nothing of the messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from serving.errors import InvalidArgument

Request = TypeVar("Request")
Response = TypeVar("Response")

Answer = Callable[[int, Request | InvalidArgument], Awaitable[Response]]


async def answers(
    requests: AsyncIterator[Request], answer: Answer[Request, Response], in_flight: int
) -> AsyncIterator[Response]:
    """One response per message, as soon as it and all before it are there.

    `answer` gets the place of the message and the message, or the InvalidArgument that `requests` raised in its place. A message is
    read only while fewer than `in_flight` are without an answer that was taken, so the sender is held up by flow control. What is
    still being answered when the caller goes away is cancelled.
    """
    slots = asyncio.Semaphore(in_flight)
    running: asyncio.Queue[asyncio.Task[Response] | None] = asyncio.Queue()
    tasks: set[asyncio.Task[Response]] = set()

    async def read() -> None:
        try:
            place = 0
            while True:
                await slots.acquire()
                message: Request | InvalidArgument
                try:
                    message = await anext(requests)
                except StopAsyncIteration:
                    return
                except InvalidArgument as error:
                    message = error
                task = asyncio.ensure_future(answer(place, message))
                tasks.add(task)
                running.put_nowait(task)
                place += 1
        finally:
            running.put_nowait(None)

    reader = asyncio.create_task(read())
    try:
        while (task := await running.get()) is not None:
            response = await task
            tasks.discard(task)
            yield response
            slots.release()
        await reader  # raises what ended it, if that was no end of the stream
    finally:
        left = {reader, *tasks}
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)

"""Round trips to Valkey: several commands over one connection, and commands of many callers in one trip."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import valkey.exceptions

from features.valkey_calls import Command, Pooled


async def answers(client: Pooled, *batches: Sequence[Command]) -> list[list[Any]]:
    """The answers to each batch, sent when those to the one before are there; the errors of commands are among them."""
    pool = client.connection_pool
    connection = await pool.get_connection("EVAL")
    try:
        return [await _answered(connection, batch) for batch in batches]
    except BaseException:
        await connection.disconnect(nowait=True)  # nobody else may read the answers that are still to come
        raise
    finally:
        await pool.release(connection)


async def _answered(connection: Any, commands: Sequence[Command]) -> list[Any]:
    await connection.send_packed_command(connection.pack_commands(commands))
    found: list[Any] = []
    for _ in commands:
        try:
            found.append(await connection.read_response())
        except valkey.exceptions.ResponseError as error:
            found.append(error)
    return found


class SharedTrips:
    """The calls of `AsyncValkey`; commands of one turn of the event loop share a round trip.

    So pages that came in one call of a stage stay together on their way through Valkey and share the calls that follow, which is
    what this gains: the commands cost as much as apart. A command's error is its caller's alone; what breaks the connection is
    told to all of the trip. A trip that everybody has given up is given up.
    """

    def __init__(self, client: Pooled) -> None:
        self._client = client
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._trips = set[asyncio.Task[None]]()

    async def hmget(self, name: str, keys: list[Any]) -> Any:
        """The values of fields of a hash."""
        return await self._answer(("HMGET", name, *keys))

    async def mget(self, keys: list[Any]) -> Any:
        """The values of keys, which lie in one slot."""
        return await self._answer(("MGET", *keys))

    async def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """What the script returns."""
        return await self._answer(("EVAL", script, numkeys, *keys_and_args))

    async def _answer(self, command: Command) -> Any:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        self._waiting.append((command, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._depart)
        return await answer

    def _depart(self) -> None:
        members = [member for member in self._waiting if not member[1].done()]
        self._waiting = []
        if not members:
            return
        trip = asyncio.create_task(self._run(members))
        self._trips.add(trip)
        trip.add_done_callback(self._trips.discard)
        for _, answer in members:
            answer.add_done_callback(lambda _: _given_up(members) and trip.cancel())

    async def _run(self, members: Sequence[tuple[Command, asyncio.Future[Any]]]) -> None:
        try:
            (found,) = await answers(self._client, [command for command, _ in members])
        except Exception as error:  # theirs to raise, or they would wait for ever
            found = [error] * len(members)
        for (_, answer), value in zip(members, found, strict=True):
            if answer.done():
                continue
            if isinstance(value, Exception):
                answer.set_exception(value)
            else:
                answer.set_result(value)


def _given_up(members: Sequence[tuple[Command, asyncio.Future[Any]]]) -> bool:
    return all(answer.cancelled() for _, answer in members)

"""One health port for several servers of a process: nothing is SERVING before everything is. Knows no service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from serving.health import Health
from serving.health_port import HealthPort


class JointHealth:
    """Asked by kubelet, which restarts, and sends traffic to, a pod as a whole. Without an address, nothing is opened."""

    def __init__(self, listen: str | None) -> None:
        """`listen`: HOST:PORT, port 0 takes a free one."""
        self._health = Health()
        self._port = HealthPort(self._health, listen)
        self._waiting: asyncio.Task[None] | None = None

    async def open(self) -> int:
        """Returns the port's number, 0 for none. Raises BindError."""
        return await self._port.open()

    def expect(self, services: Iterable[str]) -> None:
        """A server with these services will be among the `ready` ones."""
        self._health.expect(services)

    def watch(self, ready: Sequence[asyncio.Event]) -> None:
        """SERVING once each of these, one of every server, is set."""
        self._waiting = asyncio.create_task(self._serve_after(ready))

    async def shut_down(self) -> None:
        """NOT_SERVING for good; the port still answers."""
        if self._waiting is not None:
            self._waiting.cancel()
        await self._health.enter_graceful_shutdown()

    async def close(self) -> None:
        """Nobody answers any more."""
        await self._port.close()

    async def _serve_after(self, ready: Sequence[asyncio.Event]) -> None:
        for event in ready:
            await event.wait()
        await self._health.set_serving()

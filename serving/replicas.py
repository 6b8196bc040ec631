"""The endpoints of one stage: which there are, which may be used, and which one is next. Knows channels, but no call.

One channel per endpoint, so that our own code knows them: gRPC's balancing over all addresses of one channel would hide them from
breakers, retries and hedges. What a channel says about its connection includes the server's grpc.health (see `channels.py`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import grpc
import grpc.aio

from serving.addresses import Resolver, resolve, split
from serving.breaker import Breaker, Outcome
from serving.call_policy import CallPolicy
from serving.deadline import Clock

_BEST = grpc.ChannelConnectivity.READY
_DOWN = (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN)

_log = logging.getLogger(__name__)


class Endpoint:
    """One server: its channel, its breaker, and the calls that are under way."""

    def __init__(self, address: str, channel: grpc.aio.Channel, breaker: Breaker, name: str = "") -> None:
        self.address, self.channel, self.breaker, self.name = address, channel, breaker, name
        self.outstanding = 0
        self.last_error = ""
        self.idle = asyncio.Event()
        self.idle.set()
        self._was_down = False

    def begin(self) -> int:
        """A call begins; `end` wants the number."""
        self.outstanding += 1
        self.idle.clear()
        return self.breaker.begin()

    def end(self, begun: int, outcome: Outcome) -> None:
        """A call has ended."""
        self.outstanding -= 1
        if self.outstanding == 0:
            self.idle.set()
        self.breaker.end(begun, outcome)

    def state(self) -> grpc.ChannelConnectivity:
        """The connection as it is now. An idle one is opened; one that came back ends the breaker's delay."""
        state = self.channel.get_state(try_to_connect=True)
        if state in _DOWN:
            self._was_down = True
        elif state is _BEST and self._was_down:  # connected, and its health says SERVING: as good as a probe
            self._was_down = False
            self.breaker.probe_now()
        return state

    def is_usable(self) -> bool:
        """Whether a call has a chance."""
        return self.state() not in _DOWN and self.breaker.allows()


@dataclass(frozen=True)
class Lookup:
    """How names are looked up; a test has its own."""

    resolver: Resolver = resolve
    soonest_s: float = 1.0  # however many calls fail


SYSTEM = Lookup()


Opener = Callable[[str, str], grpc.aio.Channel]  # from HOST:PORT and the name that it was found behind, "" for none


class Replicas:
    """All endpoints of a stage. `open_channel` makes the channel to HOST:PORT. Must be made inside the event loop."""

    def __init__(
        self,
        addresses: str,
        open_channel: Opener,
        policy: CallPolicy,
        now: Clock = time.monotonic,
        lookup: Lookup = SYSTEM,
    ) -> None:
        """Raises ValueError if `addresses` is none of what `addresses.py` describes."""
        self.addresses = addresses
        self._open_channel, self._policy, self._now, self._lookup = open_channel, policy, now, lookup
        self._fixed, self._names = split(addresses)
        self._found: dict[tuple[str, int], list[str]] = {}
        self._problem = ""  # why a name could not be looked up
        self._endpoints: dict[str, Endpoint] = {}
        self._turn = 0
        self.looked_up, self._look_again = asyncio.Event(), asyncio.Event()  # the first: every name, at least once
        self._leaving: set[asyncio.Task[None]] = set()
        self._renewals: dict[str, asyncio.Task[None]] = {}  # by address
        self._use(dict.fromkeys(self._fixed, ""))
        self._resolving = asyncio.create_task(self._keep_resolved()) if self._names else None
        if not self._names:
            self.looked_up.set()

    def endpoints(self) -> list[tuple[str, grpc.aio.Channel]]:
        """Address and channel of every current endpoint, whatever its state: for questions that each replica is asked."""
        return [(endpoint.address, endpoint.channel) for endpoint in self._endpoints.values()]

    def pick(self) -> Endpoint | None:
        """The endpoint for the next call; None while every breaker is open.

        Where nothing is connected, one that is not: its call fails at once and says why.
        """
        usable = self.another(None)
        if usable is not None:
            return usable
        return next((endpoint for endpoint in self._endpoints.values() if endpoint.breaker.allows()), None)

    def another(self, than: Endpoint | None) -> Endpoint | None:
        """A usable endpoint that is not `than`: connected before connecting, then the fewest calls under way, then in turn."""
        self._turn += 1
        endpoints = list(self._endpoints.values())
        start = self._turn % max(len(endpoints), 1)
        usable = [
            endpoint
            for endpoint in (*endpoints[start:], *endpoints[:start])
            if endpoint is not than and endpoint.is_usable()
        ]
        if len(usable) < 2:
            return usable[0] if usable else None
        return min(usable, key=lambda endpoint: (endpoint.state() is not _BEST, endpoint.outstanding))

    def after(self, failed: Endpoint) -> Endpoint | None:
        """Where to try again: elsewhere if that is possible, else at the same endpoint if it still has a chance."""
        held = self._endpoints.get(failed.address) is failed
        return self.another(failed) or (failed if held and failed.is_usable() else None)

    def usable(self) -> int:
        """How many endpoints have a chance."""
        return sum(endpoint.is_usable() for endpoint in self._endpoints.values())

    def open_breakers(self) -> int:
        """How many endpoints are left alone because calls to them failed."""
        return sum(endpoint.breaker.is_open for endpoint in self._endpoints.values())

    def failed(self) -> None:
        """Nobody answered at some endpoint: the addresses may have changed."""
        self._look_again.set()

    def renew(self) -> None:
        """Opens every channel anew, for what a channel keeps as long as it lives: certificates.

        The old channel of an endpoint serves until the new one is connected, and then until its calls have ended.
        """
        for address, endpoint in self._endpoints.items():
            if address in self._renewals:
                self._renewals[address].cancel()
            self._renewals[address] = asyncio.create_task(self._renew(endpoint))

    def trouble(self) -> str:
        """Which endpoints are left alone and why, for people; "" if none is."""
        lost = [e for e in self._endpoints.values() if e.breaker.is_open or e.state() in _DOWN]
        parts = [f"{len(lost)} of {len(self._endpoints)} endpoints open"] if lost else []
        parts += [f"last error of {e.address}: {e.last_error}" for e in lost if e.last_error][-1:]
        unrenewed = sum(not task.done() for task in self._renewals.values())
        parts += [f"{unrenewed} endpoints not connected with the new certificate"] if unrenewed else []
        nobody = "" if self._endpoints or self._problem else f"{self.addresses} has no address"
        return ", ".join(part for part in (*parts, self._problem, nobody) if part)

    async def close(self) -> None:
        """Ends all calls and closes all channels."""
        if self._resolving is not None:
            self._resolving.cancel()
        for task in (*self._leaving, *self._renewals.values()):
            task.cancel()
        tasks = [task for task in (self._resolving, *self._leaving, *self._renewals.values()) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(endpoint.channel.close(None) for endpoint in self._endpoints.values()))

    def _use(self, names: Mapping[str, str]) -> None:
        """From now on, these addresses, each with the name that it was found behind."""
        for address in self._endpoints.keys() - names.keys():
            if (renewal := self._renewals.pop(address, None)) is not None:
                renewal.cancel()
            self._leave(self._endpoints.pop(address))
        for address, name in names.items():
            if address not in self._endpoints:
                self._endpoints[address] = self._open(address, name)

    def _open(self, address: str, name: str) -> Endpoint:
        channel = self._open_channel(address, name)
        endpoint = Endpoint(address, channel, Breaker(self._policy.breaker, self._now), name)
        endpoint.state()  # connects now, not with the first call
        return endpoint

    def _leave(self, endpoint: Endpoint) -> None:
        task = asyncio.create_task(self._let_go(endpoint))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _renew(self, old: Endpoint) -> None:
        new = self._open(old.address, old.name)
        warn = partial(_log.warning, "an endpoint does not take the new certificate", extra={"address": old.address})
        patience = asyncio.get_running_loop().call_later(self._policy.drain_s, warn)
        try:
            while (state := new.state()) is not _BEST:
                await new.channel.wait_for_state_change(state)
        except asyncio.CancelledError:
            await new.channel.close(None)
            raise
        finally:
            patience.cancel()
        self._endpoints[old.address] = new
        self._leave(old)

    async def _let_go(self, endpoint: Endpoint) -> None:
        await asyncio.sleep(0)  # a call that picked this endpoint a moment ago has begun after this
        try:
            async with asyncio.timeout(self._policy.drain_s):
                await endpoint.idle.wait()
        except TimeoutError:
            _log.warning("calls over a channel that is done with took too long", extra={"address": endpoint.address})
        finally:
            await endpoint.channel.close(None)

    async def _keep_resolved(self) -> None:
        while True:
            self._look_again.clear()
            await self._resolve()
            self.looked_up.set()
            await asyncio.sleep(self._lookup.soonest_s)
            try:
                async with asyncio.timeout(max(self._policy.resolve_s - self._lookup.soonest_s, 0)):
                    await self._look_again.wait()
            except TimeoutError:
                continue

    async def _resolve(self) -> None:
        """A name that cannot be looked up keeps the addresses that it had."""
        problem = ""
        for host, port in self._names:
            try:
                self._found[host, port] = await self._lookup.resolver(host, port)
            except OSError as error:
                problem = f"{host} cannot be looked up: {error}"
                if not self._problem:
                    _log.warning("%s", problem, extra={"addresses": self.addresses})
        self._problem = problem
        behind = {at: host for (host, _), found in self._found.items() for at in found}
        self._use(dict.fromkeys(self._fixed, "") | behind)

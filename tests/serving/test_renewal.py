"""Certificates that change while calls go on (serving/tls.py, replicas.py, channels.py): no call fails, the new ones are shown."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse
from protos.explore.v1.ranking_pb2_grpc import RankingServiceStub
from serving import channels
from serving.calling import StageCalls
from serving.channels import StageConnection, open_channel
from serving.errors import Unavailable
from serving.replicas import Lookup, Replicas
from serving.tls import TlsDirectory
from tests.serving.batches import rank_request
from tests.serving.certificates import Authority, flip
from tests.serving.replicas import NO_HEDGES, Replica, all_rows, connected, running

REQUEST = rank_request([[1.0]])
TIMEOUT_S = 10.0


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "RENEWAL_LOOK_S", 0.005)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


class Seen:
    """A stage that keeps every call until `gate` is set, and notes whose certificates come."""

    def __init__(self) -> None:
        self.gate, self.certificates = asyncio.Event(), list[bytes]()
        self.changed = asyncio.Condition()
        self.gate.set()

    async def answer(self, request: RankRequest, context: Any) -> RankResponse:
        async with self.changed:
            self.certificates.append(context.auth_context()["x509_pem_cert"][0])
            self.changed.notify_all()
        await self.gate.wait()
        return await all_rows(request, context)

    async def sees(self, certificate: bytes) -> None:
        async with asyncio.timeout(TIMEOUT_S), self.changed:
            await self.changed.wait_for(lambda: self.certificates[-1:] == [certificate])


async def ask(connection: StageConnection) -> None:
    await connection.calls.call(lambda channel: RankingServiceStub(channel).Rank, REQUEST, TIMEOUT_S)


@asynccontextmanager
async def calling(connection: StageConnection) -> AsyncIterator[Sequence[int]]:
    """Calls one after the other, over and over, in three tasks; a failure fails the block. Gives one entry per call."""
    ended, over = list[int](), asyncio.Event()

    async def go() -> None:
        while not over.is_set():
            await ask(connection)
            ended.append(1)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(go())
        yield ended
        over.set()


async def shown_by(address: str, files: TlsDirectory) -> bytes:
    """The certificate that a server shows on a new connection, PEM."""
    context = ssl.create_default_context(cadata=(files.current().authorities or b"").decode())
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return ssl.DER_cert_to_PEM_cert(shown).encode()


async def test_both_sides_rotate_under_calls_and_none_fails(tmp_path: Path, authority: Authority) -> None:
    stage, caller = (authority.write(tmp_path / name, name) for name in ("rank", "gateway"))
    seen, files = Seen(), TlsDirectory(caller)
    async with running(Replica(seen.answer, tls_directory=stage)) as address:
        before = await shown_by(address, files)
        async with connected(address, tls=files) as connection, calling(connection) as ended:
            for _ in range(3):
                authority.write(stage, "rank")
                authority.write(caller, "gateway")
                await seen.sees(files.current().certificate)
            assert len(ended) > 0
            assert connection.calls.counts.retries == 0
        after = await shown_by(address, files)
    assert before != after == (stage / "tls.crt").read_bytes()
    assert len(set(seen.certificates)) == 4


async def test_the_authority_is_exchanged_under_calls_and_none_fails(tmp_path: Path, authority: Authority) -> None:
    other = Authority("the next one")
    stage, caller = (authority.write(tmp_path / name, name) for name in ("rank", "gateway"))
    seen, files = Seen(), TlsDirectory(caller)

    async def turn(believed: bytes, signing: Authority) -> None:
        for directory, name in ((stage, "rank"), (caller, "gateway")):
            certificate, key = signing.issue(name)
            flip(directory, {"tls.crt": certificate, "tls.key": key, "ca.crt": believed})
        await seen.sees(files.current().certificate)

    replica = Replica(seen.answer, tls_directory=stage)
    async with running(replica), connected(replica.address, tls=files) as connection, calling(connection):
        await turn(authority.pem + other.pem, authority)  # first everybody believes both ...
        await turn(authority.pem + other.pem, other)
        await turn(other.pem, other)  # ... and then the old one no more


async def test_a_call_ends_on_the_channel_that_it_began_on(tmp_path: Path, authority: Authority) -> None:
    stage, caller = (authority.write(tmp_path / name, name) for name in ("rank", "gateway"))
    seen, files = Seen(), TlsDirectory(caller)
    async with (
        running(Replica(seen.answer, tls_directory=stage)) as address,
        connected(address, tls=files) as connection,
    ):
        (_, old), *_ = connection.replicas.endpoints()
        seen.gate.clear()
        call = asyncio.create_task(ask(connection))
        await seen.sees(files.current().certificate)
        authority.write(caller, "gateway")
        async with asyncio.timeout(TIMEOUT_S):
            while connection.replicas.endpoints()[0][1] is old:
                await asyncio.sleep(0)
        assert not call.done()
        seen.gate.set()
        await call
        await ask(connection)
    assert len(set(seen.certificates)) == 2


async def test_a_certificate_that_the_stage_does_not_take_leaves_the_old_channel(
    tmp_path: Path, authority: Authority
) -> None:
    stage, caller = (authority.write(tmp_path / name, name) for name in ("rank", "gateway"))
    async with (
        running(Replica(tls_directory=stage)) as address,
        connected(address, tls=TlsDirectory(caller)) as connection,
    ):
        certificate, key = Authority("nobody knows it").issue("gateway")
        flip(caller, {"tls.crt": certificate, "tls.key": key, "ca.crt": authority.pem})
        async with asyncio.timeout(TIMEOUT_S):
            while "1 endpoints not connected with the new certificate" not in connection.replicas.trouble():
                await asyncio.sleep(0)
        for _ in range(20):
            await ask(connection)
        authority.write(caller, "gateway")  # put right
        async with asyncio.timeout(TIMEOUT_S):
            while connection.replicas.trouble():
                await asyncio.sleep(0)
        await ask(connection)


@pytest.mark.parametrize(("name", "taken"), [("rank.test", True), ("rerank.test", False)])
async def test_what_is_behind_a_name_must_have_a_certificate_for_the_name(
    tmp_path: Path, authority: Authority, name: str, taken: bool
) -> None:
    files = TlsDirectory(authority.write(tmp_path / "gateway", "gateway"))
    async with running(Replica(tls_directory=authority.write(tmp_path / "stage", name))) as address:

        async def resolve(host: str, port: int) -> list[str]:
            return [address]

        opener: Callable[[str, str], Any] = partial(open_channel, tls=files)
        replicas = Replicas("dns:///rank.test:1", opener, NO_HEDGES, lookup=Lookup(resolve))
        calls = StageCalls("rank", replicas, NO_HEDGES)
        try:
            if taken:
                await calls.call(lambda channel: RankingServiceStub(channel).Rank, REQUEST, TIMEOUT_S)
            else:
                with pytest.raises(Unavailable, match="Hostname Verification Check failed"):
                    await calls.call(lambda channel: RankingServiceStub(channel).Rank, REQUEST, TIMEOUT_S)
        finally:
            await replicas.close()

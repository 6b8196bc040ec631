"""What the services of a running stack say of bundle versions, and waiting until they do what the store asks for."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import grpc
import typer

from bundles.manifest import Manifest
from cli.errors import CommandError, StackError
from cli.stack import VALKEY, RunningStack
from protos.explore.v1.status_pb2 import GetStatusRequest
from protos.explore.v1.status_pb2_grpc import StatusServiceStub

_POLL_S = 0.1
_ANSWER_S = 1.0


@dataclass(frozen=True)
class ServedBundles:
    """The versions that one service holds, current first, and what it has to say of them or of why it does not answer."""

    service: str
    versions: tuple[str, ...]
    note: str


Done = Callable[[ServedBundles], bool]


@dataclass(frozen=True)
class Waited:
    """How long it took, and who has not come along, with the reason that each one gives."""

    seconds: float
    services: int
    behind: tuple[ServedBundles, ...]


def other_data(stack: RunningStack | None, manifest: Manifest) -> str:
    """The data set of a running stack if the bundle is of another one, whose users and media mean nothing there; else empty."""
    return "" if stack is None or stack.dataset == manifest.dataset else stack.dataset


def refuse_other_data(stack: RunningStack | None, manifest: Manifest) -> None:
    """Raises CommandError if a running stack is of another data set."""
    if data := other_data(stack, manifest):
        bundle = f"bundle {manifest.version} is of data set {manifest.dataset!r}"
        advice = "`explore down` ends it; then activate a bundle of the data set that you want, and start again"
        raise CommandError(f"{bundle}, the running stack serves the users of {data!r}", advice)


def ask(stack: RunningStack) -> list[ServedBundles]:
    """Every service of the stack once."""
    with _Stubs(stack) as stubs:
        return stubs.ask()


def wait_until(stack: RunningStack, done: Done, refusal: str, timeout_s: float) -> Waited:
    """Returns when `done` holds for every service, when one of them notes `refusal`, or when the time is over."""
    start_s = time.monotonic()
    with _Stubs(stack) as stubs:
        while True:
            answers = stubs.ask()
            behind = tuple(answer for answer in answers if not done(answer))
            waited_s = time.monotonic() - start_s
            if not behind or waited_s > timeout_s or any(refusal in answer.note for answer in behind):
                return Waited(waited_s, len(answers), behind)
            time.sleep(_POLL_S)  # there is no event to wait for in another process


def wait_for(stack: RunningStack | None, done: Done, version: str, deed: str, wait_s: float) -> None:
    """Says how long the services took. Raises StackError naming those that refuse, or that are not done in time."""
    if stack is None:
        typer.echo("no stack runs")
        return
    waited = wait_until(stack, done, f"bundle {version} is refused", wait_s)
    if not waited.behind:
        typer.echo(f"all {waited.services} services {deed} after {waited.seconds:.1f} s")
        return
    lines = [f"{each.service}: {_held(each)}{each.note or 'no reason given'}" for each in waited.behind]
    raise StackError(
        f"after {waited.seconds:.1f} s, {len(waited.behind)} of {waited.services} services do not {deed}:",
        "\n  ".join(
            [*lines, "the others go on with what all of them hold; `explore rollback` or `release` takes it back"]
        ),
    )


def _held(answer: ServedBundles) -> str:
    return f"serves {answer.versions[0]}; " if answer.versions else ""


class _Stubs(ExitStack):
    """Channels to all services of a stack."""

    def __init__(self, stack: RunningStack) -> None:
        super().__init__()
        self._stubs: list[tuple[str, StatusServiceStub]] = []
        for process in stack.processes:
            if process.name != VALKEY:
                channel = self.enter_context(grpc.insecure_channel(stack.ports.address(process.name)))
                self._stubs.append((process.name, StatusServiceStub(channel)))

    def ask(self) -> list[ServedBundles]:
        return [_ask(service, stub) for service, stub in self._stubs]


def _ask(service: str, stub: StatusServiceStub) -> ServedBundles:
    try:
        answer = stub.GetStatus(GetStatusRequest(), timeout=_ANSWER_S)
    except grpc.RpcError as error:
        return ServedBundles(service, (), f"does not answer: {error.details()}")
    return ServedBundles(service, tuple(answer.bundle_versions), answer.not_ready_reason or answer.note)

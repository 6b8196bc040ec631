"""Everything that goes wrong on purpose, and the one table that turns it into a gRPC status.

ServingError
├── CallError                      what the caller of a service sees
│   ├── InvalidArgument            the request is wrong; names the field
│   ├── Unauthenticated            the caller shows no key, or none that is known
│   ├── PermissionDenied           the caller is known, but may not do this
│   ├── NotReady                   no bundle is loaded yet
│   ├── BundleNotHeld              the pinned bundle version is not held
│   ├── Expired                    the caller's time was over before work began
│   ├── DeadlineExceeded           a stage did not answer in its share of the deadline
│   ├── Unavailable                nobody answered
│   ├── Overloaded                 shed before any work was done
│   ├── StageFailed                a stage answered with an error
│   └── StageContractViolation     a stage answered with something that breaks its contract
└── StartupError                   why a process cannot serve
    ├── ConfigError                an environment variable is wrong
    ├── BindError                  the listen address cannot be had
    ├── BundleRefused              the active bundle cannot serve, nor can the one before
    ├── ModelUnreadable            a model file cannot be loaded
    └── SettingRefused             a file of settings does not fit the bundle: a query, a list of takedowns
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import grpc


class ServingError(Exception):
    """Root of the tree."""


class CallError(ServingError):
    """A failure that the caller of a service may read: the message goes over the wire."""


class InvalidArgument(CallError):
    """`field` is a path in the request, for example "users[3].user_id"; `reason` completes the sentence it starts."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field = field
        self.reason = reason


class Unauthenticated(CallError):
    """Nobody knows who calls. The message says what to send, and nothing of what was sent."""


class PermissionDenied(CallError):
    """Names the caller and what it may not do."""


class NotReady(CallError):
    """The service has nothing to serve from yet."""


class BundleNotHeld(CallError):
    """The request pins a version that this process does not hold."""

    def __init__(self, version: str, held: Collection[str]) -> None:
        super().__init__(f"bundle_version {version!r} is not held; held: {', '.join(held) or 'unknown'}")
        self.version = version


class Expired(CallError):
    """Nobody waits for the answer any more, so nothing was computed."""


class DeadlineExceeded(CallError):
    """A stage ran out of time."""

    def __init__(self, stage: str, timeout_s: float) -> None:
        super().__init__(f"{stage} did not answer within {timeout_s * 1000:.0f} ms")
        self.stage = stage


class Unavailable(CallError):
    """A stage cannot be reached, or is not ready."""

    def __init__(self, stage: str, detail: str) -> None:
        super().__init__(f"{stage} is unavailable: {detail}")
        self.stage = stage


class Overloaded(CallError):
    """Too much is waiting already.

    `pushback_ms`: how long the caller should stay away, negative to say that it should not try again; None if that is not known.
    """

    def __init__(self, detail: str, pushback_ms: int | None = None) -> None:
        super().__init__(detail)
        self.pushback_ms = pushback_ms


class StageFailed(CallError):
    """A stage answered with an error of its own."""

    def __init__(self, stage: str, status: grpc.StatusCode, detail: str) -> None:
        super().__init__(f"{stage} failed with {status.name}: {detail}")
        self.stage = stage
        self.status = status


class StageContractViolation(CallError):
    """A stage's answer cannot be what it was asked for."""

    def __init__(self, stage: str, field: str, reason: str) -> None:
        super().__init__(f"{stage} broke its contract: {field} {reason}")
        self.stage = stage
        self.field = field
        self.reason = reason


class StartupError(ServingError):
    """The process cannot serve; the message is for the person who starts it."""


class ConfigError(StartupError):
    """Names the environment variable, its value and what is allowed."""


class BindError(StartupError):
    """The listen address is taken or does not belong to this machine."""


class BundleRefused(StartupError):
    """Names the bundle and what is wrong with it."""

    def __init__(self, version: str, problem: str) -> None:
        super().__init__(f"bundle {version} is refused: {problem}")
        self.version = version


class ModelUnreadable(StartupError):
    """A model file is missing or is not what its name says."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"model {path} cannot be loaded: {problem}")
        self.path = path


class SettingRefused(StartupError):
    """A file that people write cannot serve with the bundle."""

    def __init__(self, version: str, problem: str) -> None:
        super().__init__(f"cannot serve bundle {version}: {problem}")


STATUS_OF: dict[type[CallError], grpc.StatusCode] = {
    InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    NotReady: grpc.StatusCode.UNAVAILABLE,
    BundleNotHeld: grpc.StatusCode.FAILED_PRECONDITION,
    Expired: grpc.StatusCode.DEADLINE_EXCEEDED,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    StageFailed: grpc.StatusCode.INTERNAL,
    StageContractViolation: grpc.StatusCode.INTERNAL,
}


def status_of(error: CallError) -> grpc.StatusCode:
    """The status of an error, or of its nearest ancestor in the table; INTERNAL for one that has none."""
    for ancestor in type(error).__mro__:
        if ancestor in STATUS_OF:
            return STATUS_OF[ancestor]
    return grpc.StatusCode.INTERNAL

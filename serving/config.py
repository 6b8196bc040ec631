"""The settings that every service has, and the only code that reads the environment. Each service's `config.py` subclasses.

A field `drain_s` is the variable EXPLORE_DRAIN_S. Values are validated once, at start; nothing changes them later.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from serving.concurrency import Bounds
from serving.errors import ConfigError

PREFIX = "EXPLORE_"
UNIX = "unix:"  # in front of the path of a socket: for callers on the same machine
MAX_SOCKET_PATH = 107  # sun_path of Linux, without its final zero byte

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5})")


def check_address(address: str) -> str:
    """The address if it is HOST:PORT. Raises ValueError."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > 65535:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:50051 or [::]:50051")
    return address


def check_endpoint(address: str) -> str:
    """The address if it is HOST:PORT, or unix:PATH of a socket on this machine. Raises ValueError."""
    path = address.removeprefix(UNIX)
    if path == address:
        return check_address(address)
    if not path.startswith("/") or "," in path or len(path.encode()) > MAX_SOCKET_PATH:
        raise ValueError(f"must be unix:/PATH, at most {MAX_SOCKET_PATH} bytes of an absolute path without commas")
    return address


Address = Annotated[str, AfterValidator(check_endpoint)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


class ServiceConfig(BaseSettings):
    """What a service needs besides its own business. A subclass gives `listen` a default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    listen: Address = "127.0.0.1:0"  # port 0 takes a free one
    bundle_root: Path = Path("var/bundles")
    bundle_retry_s: Seconds = 5.0  # how long to wait before trying again to load
    bundle_poll_s: Seconds = 1.0  # how often to look whether another bundle was activated; one look is two `stat`s
    bundle_pin_s: Seconds = (
        15.0  # how long a version stays that requests were pinned to; longer than any request may take
    )
    drain_s: Seconds = 10.0  # how long calls may go on after SIGTERM
    connection_age_s: Seconds = 300.0  # then clients connect anew, so that new replicas get their share
    connection_grace_s: Seconds = 30.0  # for the calls of a connection that is over
    # Calls at a time, of each gRPC service; how many is learnt within these two.
    limit_floor: int = Field(default=Bounds.floor, ge=1)
    limit_ceiling: int = Field(default=Bounds.ceiling, ge=1)
    limit_tolerance: float = Field(default=Bounds.tolerance, ge=1, allow_inf_nan=False)  # times the unloaded latency
    queue_length: int = Field(default=32, ge=0)  # calls that may wait for their turn; those beyond are shed
    queue_wait_share: Share = 1.0  # of the time that a call has left: what would wait longer is shed at once
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    reflection: bool = True
    onnx_threads: int = Field(default=1, ge=1, le=256)  # per session
    max_message_mb: int = Field(default=16, ge=1, le=1024)

    @property
    def max_message_bytes(self) -> int:
        """For gRPC's options."""
        return self.max_message_mb * 1024 * 1024

    @property
    def limit_bounds(self) -> Bounds:
        """Of the adaptive limit."""
        return Bounds(self.limit_floor, self.limit_ceiling, self.limit_tolerance)

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Self:
        if self.limit_floor > self.limit_ceiling:
            raise ValueError(f"limit_floor {self.limit_floor} is more than limit_ceiling {self.limit_ceiling}")
        return self


C = TypeVar("C", bound=ServiceConfig)
S = TypeVar("S", bound=BaseSettings)


@dataclass(frozen=True)
class Stray:
    """A variable with our prefix that is no setting of this service, and the setting it looks like, if any."""

    variable: str
    suggestion: str | None


def load(config_class: type[S], **given: Any) -> S:
    """The config from the environment, but for the fields that are given.

    Raises ConfigError naming every wrong variable, its value and what is allowed.
    """
    try:
        return config_class(**given)
    except SettingsError as error:
        match = re.search(r'field "(\w+)"', str(error))
        name = variable(match[1]) if match else PREFIX
        raise ConfigError(f"{name}={os.environ.get(name, '')!r}: must be JSON") from error
    except ValidationError as error:
        raise ConfigError("\n".join(_complaint(detail) for detail in error.errors())) from error


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def strays(config_class: type[ServiceConfig]) -> list[Stray]:
    """Variables that this service ignores. Those without a suggestion are most likely another service's."""
    known = [variable(field) for field in config_class.model_fields]
    found = sorted(name for name in os.environ if name.startswith(PREFIX) and name.upper() not in known)
    return [Stray(name, next(iter(get_close_matches(name, known, 1, 0.85)), None)) for name in found]


def _complaint(detail: ErrorDetails) -> str:
    if not detail["loc"]:  # a rule about several settings
        return detail["msg"]
    name = variable(str(detail["loc"][0]))
    if name not in os.environ:
        return f"{name} is not set: {detail['msg']}"
    where = "".join(f"[{part!r}]" for part in detail["loc"][1:])
    return f"{name}{where}={os.environ[name]!r}: {detail['msg']}"

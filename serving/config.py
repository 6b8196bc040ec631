"""The settings that every service has, and the only code that reads the environment. Each service's `config.py` subclasses.

A field `drain_s` is the variable EXPLORE_DRAIN_S. Values are validated once, at start; nothing changes them later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from serving.concurrency import Bounds
from serving.errors import ConfigError
from serving.tls import read_tls

PREFIX = "EXPLORE_"
UNIX = "unix:"  # in front of the path of a socket: for callers on the same machine
MAX_SOCKET_PATH = 107  # sun_path of Linux, without its final zero byte

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\s]+):(\d{1,5})")
_CLOSE = 0.83  # similarity of names: less would take a setting of one service for a misspelt one of another
_PEER = re.compile(r"spiffe://[^\s,]+|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")


def check_address(address: str) -> str:
    """The address if it is HOST:PORT. Raises ValueError."""
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[2]) > 65535:
        raise ValueError("must be HOST:PORT, for example 127.0.0.1:50051 or [::]:50051")
    return address


def _check_peer(peer: str) -> str:
    if not _PEER.fullmatch(peer):
        raise ValueError("must be a DNS name or a spiffe:// URI, as in the certificates of those who call")
    return peer


def check_tls(mutual: bool) -> Callable[[Path], Path]:
    """A validator: the directory, if it holds what a port or a channel needs. Raises ValueError that names the file."""

    def check(path: Path) -> Path:
        read_tls(path, mutual)
        return path

    return check


def check_otlp(url: str) -> str:
    """The URL if it is that of an OTLP/gRPC collector. Raises ValueError."""
    scheme, separator, address = url.partition("://")
    if separator and scheme in ("http", "https"):
        with suppress(ValueError):
            check_address(address.removesuffix("/"))
            return url
    raise ValueError("must be http://HOST:PORT or https://HOST:PORT, for example http://collector:4317")


def check_endpoint(address: str) -> str:
    """The address if it is HOST:PORT, or unix:PATH of a socket on this machine. Raises ValueError."""
    path = address.removeprefix(UNIX)
    if path == address:
        return check_address(address)
    if not path.startswith("/") or "," in path or len(path.encode()) > MAX_SOCKET_PATH:
        raise ValueError(f"must be unix:/PATH, at most {MAX_SOCKET_PATH} bytes of an absolute path without commas")
    return address


Address = Annotated[str, AfterValidator(check_endpoint)]
Peer = Annotated[str, AfterValidator(_check_peer)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class PortTls:
    """Certificates of a port. `peers`: names that may call it; none: all whose certificate is good; None: none is asked for."""

    directory: Path
    peers: tuple[str, ...] | None


class ServiceConfig(BaseSettings):
    """What a service needs besides its own business. A subclass gives `listen` a default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    listen: Address = "127.0.0.1:0"  # port 0 takes a free one
    health_listen: Address | None = None  # a second port, for health alone and never encrypted: kubelet knows no other
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
    metrics_listen: Address | None = None  # where Prometheus asks (docs/telemetry.md); None: nowhere
    otlp_endpoint: Annotated[str, AfterValidator(check_otlp)] | None = None  # where traces go; None: nothing is traced
    trace_share: float = Field(default=0.01, ge=0, le=1)  # of the requests that come without a trace of their caller
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    reflection: bool = True
    onnx_threads: int = Field(default=1, ge=1, le=256)  # per session
    max_message_mb: int = Field(default=16, ge=1, le=1024)
    # tls.crt, tls.key and ca.crt: both sides of every call between services show certificates (docs/security.md). Unset: plain.
    tls_directory: Annotated[Path, AfterValidator(check_tls(mutual=True))] | None = None
    tls_peers: tuple[Peer, ...] = ("gateway",)  # names in the certificates of those who may call a stage; []: any

    @property
    def max_message_bytes(self) -> int:
        """For gRPC's options."""
        return self.max_message_mb * 1024 * 1024

    @property
    def service_name(self) -> str:
        """The name of the service in traces, by the package of its settings: "rank" for rank_svc."""
        return type(self).__module__.partition(".")[0].removesuffix("_svc")

    @property
    def limit_bounds(self) -> Bounds:
        """Of the adaptive limit."""
        return Bounds(self.limit_floor, self.limit_ceiling, self.limit_tolerance)

    @property
    def port_tls(self) -> PortTls | None:
        """What callers of the port meet; None: no TLS."""
        return None if self.tls_directory is None else PortTls(self.tls_directory, self.tls_peers)

    @model_validator(mode="after")
    def _peers_can_be_told(self) -> Self:
        if "tls_peers" in self.model_fields_set and self.tls_directory is None:
            raise ValueError("tls_peers is set without tls_directory: nobody would be checked")
        return self

    @model_validator(mode="after")
    def _limits_are_in_order(self) -> Self:
        if self.limit_floor > self.limit_ceiling:
            raise ValueError(f"limit_floor {self.limit_floor} is more than limit_ceiling {self.limit_ceiling}")
        return self


C = TypeVar("C", bound=ServiceConfig)
S = TypeVar("S", bound=BaseSettings)


def load(config_class: type[S], **given: Any) -> S:
    """The config from the environment, but for the fields that are given.

    Raises ConfigError naming every wrong variable, its value and what is allowed. A variable that looks like a misspelt one of ours
    is wrong, too: what somebody set must not be ignored.
    """
    complaints = [
        f"{name} is not known, did you mean {close}?" for name, close in strays(config_class).items() if close
    ]
    try:
        config = config_class(**given)
    except SettingsError as error:
        match = re.search(r'field "(\w+)"', str(error))
        name = variable(match[1]) if match else PREFIX
        complaints.append(f"{name}={os.environ.get(name, '')!r}: must be JSON")
    except ValidationError as error:
        details = error.errors()
        # A list with a wrong entry is not also too short, though pydantic says so.
        lists = {detail["loc"][0] for detail in details if len(detail["loc"]) > 1}
        told = [detail for detail in details if detail["type"] != "too_short" or detail["loc"][0] not in lists]
        complaints += [_complaint(config_class, detail) for detail in told]
    if complaints:
        raise ConfigError("\n".join(complaints))  # without its cause, which shows values that may be secret
    return config


def variable(field: str) -> str:
    """The environment variable of a field."""
    return PREFIX + field.upper()


def strays(config_class: type[BaseSettings]) -> dict[str, str | None]:
    """Variables with our prefix that are no setting of this service, and the setting that each looks like.

    Those without one are most likely another service's: on one machine, all services share an environment.
    """
    known = [field.upper() for field in config_class.model_fields]
    found = sorted(
        name for name in os.environ if name.startswith(PREFIX) and name.removeprefix(PREFIX).upper() not in known
    )
    close = {name: get_close_matches(name.removeprefix(PREFIX).upper(), known, 1, _CLOSE) for name in found}
    return {name: PREFIX + matches[0] if matches else None for name, matches in close.items()}


def _complaint(config_class: type[BaseSettings], detail: ErrorDetails) -> str:
    problem = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:  # a rule about several settings, which it calls by the names of their fields
        return re.sub(
            r"\w+", lambda word: variable(word[0]) if word[0] in config_class.model_fields else word[0], problem
        )
    field = str(detail["loc"][0])
    name, info = variable(field), config_class.model_fields[field]
    if name not in os.environ:
        return f"{name} is not set: {problem}"
    where = "".join(f"[{part!r}]" for part in detail["loc"][1:])
    value = "(hidden)" if info.annotation is SecretStr else repr(os.environ[name])
    return f"{name}{where}={value}: {problem}{_bounds(info) if not where else ''}"


def _bounds(info: FieldInfo) -> str:
    """The whole range of a number, since pydantic names the one bound that was broken."""
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    found = [
        f"{word} {getattr(rule, key):g}" for key, word in words.items() for rule in info.metadata if hasattr(rule, key)
    ]
    return f" (allowed: {', '.join(found)})" if found else ""

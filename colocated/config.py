"""Which services share a process, where each listens, and where all are probed. All else is read by the services' own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.config import PREFIX, Address

Name = Literal["retrieval_svc", "prerank_svc", "rank_svc", "rerank_svc", "gateway"]
ORDER: tuple[Name, ...] = get_args(Name)  # the gateway starts last and ends first


class ColocatedConfig(BaseSettings):
    """EXPLORE_RANK_LISTEN says where the rank service listens, and so on. EXPLORE_SERVICES is a JSON list of names."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    services: tuple[Name, ...] | None = Field(default=None, min_length=1)  # None: those told where to listen, or all
    gateway_listen: Address = "127.0.0.1:50050"
    retrieval_listen: Address = "127.0.0.1:50051"
    prerank_listen: Address = "127.0.0.1:50052"
    rank_listen: Address = "127.0.0.1:50053"
    rerank_listen: Address = "127.0.0.1:50054"
    health_listen: Address | None = None  # SERVING once all of them serve; plain, as that of a service alone
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("services")
    @classmethod
    def _each_once(cls, services: tuple[Name, ...] | None) -> tuple[Name, ...] | None:
        if services is not None and len(set(services)) != len(services):
            raise ValueError("names a service twice")
        return services

    @property
    def hosted(self) -> tuple[Name, ...]:
        """The services of the process, in the order in which they start."""
        named = self.services or [name for name in ORDER if _listen_field(name) in self.model_fields_set] or ORDER
        return tuple(name for name in ORDER if name in named)

    @property
    def listen(self) -> Mapping[Name, str]:
        """Where each of them listens."""
        return {name: getattr(self, _listen_field(name)) for name in self.hosted}


def _listen_field(name: Name) -> str:
    return f"{name.removesuffix('_svc')}_listen"

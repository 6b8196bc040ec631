"""Which services share a process, and where each listens. Everything else is read by the services' own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from serving.config import PREFIX, Address

Name = Literal["retrieval_svc", "prerank_svc", "rank_svc", "rerank_svc", "gateway"]
ORDER: tuple[Name, ...] = get_args(Name)  # the gateway starts last and ends first


class ColocatedConfig(BaseSettings):
    """EXPLORE_SERVICES is a JSON list of names; EXPLORE_RANK_LISTEN says where the rank service listens, and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    services: tuple[Name, ...] = Field(default=ORDER, min_length=1)
    gateway_listen: Address = "127.0.0.1:50050"
    retrieval_listen: Address = "127.0.0.1:50051"
    prerank_listen: Address = "127.0.0.1:50052"
    rank_listen: Address = "127.0.0.1:50053"
    rerank_listen: Address = "127.0.0.1:50054"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("services")
    @classmethod
    def _each_once_in_order(cls, services: tuple[Name, ...]) -> tuple[Name, ...]:
        if len(set(services)) != len(services):
            raise ValueError("names a service twice")
        return tuple(name for name in ORDER if name in services)

    @property
    def listen(self) -> Mapping[Name, str]:
        """Where each of the services listens."""
        return {name: getattr(self, f"{name.removesuffix('_svc')}_listen") for name in self.services}

"""What can be set about sourcing, and the settings of the service. The only defaults of this service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from features.integrity import NON_RECOMMENDABLE_THRESHOLD, MissingScore
from features.shards import MAX_SHARDS, Shard
from retrieval_svc.eligibility import (
    BlockedAuthor,
    HiddenAuthor,
    MutedAuthor,
    NotRecommendable,
    NotYetPublished,
    OwnPost,
    PolicyFlagged,
    Rule,
    Seen,
    TooOld,
)
from retrieval_svc.igql.files import DEFAULT_QUERY
from retrieval_svc.limits import MAX_COUNT
from serving.config import PREFIX, Address, ServiceConfig


class SourcingConfig(BaseModel):
    """Which query sources candidates, and what may be recommended at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # These files are looked at again for every request.
    igql_file: Path = DEFAULT_QUERY
    igql_directory: Path | None = None  # its files NAME.igql are queries that a request may name
    takedown_file: Path | None = None  # media and accounts that must not be shown, from now on
    non_recommendable_threshold: float = Field(default=NON_RECOMMENDABLE_THRESHOLD, ge=0, le=1)
    missing_integrity_score: MissingScore = "auto"
    allowed_policy_flags: frozenset[str] = frozenset()  # media with any other flag are refused
    max_media_age_hours: int | None = Field(default=None, ge=1)

    def rules(self) -> tuple[Rule, ...]:
        """The eligibility rules, in the order in which they may claim a drop."""
        oldest_ms = None if self.max_media_age_hours is None else self.max_media_age_hours * 3_600_000
        return (
            NotYetPublished(),
            NotRecommendable(self.non_recommendable_threshold, self.missing_integrity_score),
            PolicyFlagged(self.allowed_policy_flags),
            TooOld(oldest_ms),
            OwnPost(),
            BlockedAuthor(),
            MutedAuthor(),
            HiddenAuthor(),
            Seen(),
        )


class SourcingSettings(BaseSettings, SourcingConfig):
    """The same from the environment, for those who source without the service: EXPLORE_MAX_MEDIA_AGE_HOURS and so on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")


def _ordinal(value: object) -> object:
    """The number at the end of a pod's name, such as retrieval-2; everything else as it is."""
    found = re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?-(\d+)", value) if isinstance(value, str) else None
    return value if found is None else found[2]


class RetrievalConfig(ServiceConfig, SourcingConfig):  # type: ignore[misc]  # pydantic merges the two model_config
    """The service: EXPLORE_LISTEN, EXPLORE_IGQL_FILE and so on."""

    listen: Address = "127.0.0.1:50051"
    max_count: int = Field(default=MAX_COUNT, ge=1)  # candidates that one user may ask for
    # Which accounts' media this process sources: those of one shard. A pod of a StatefulSet may give its name as the index.
    shard_index: Annotated[int, BeforeValidator(_ordinal)] = Field(default=0, ge=0)
    shard_count: int = Field(default=1, ge=1, le=MAX_SHARDS)

    @property
    def shard(self) -> Shard:
        return Shard(self.shard_index, self.shard_count)

    @model_validator(mode="after")
    def _shard_exists(self) -> RetrievalConfig:
        if self.shard_index >= self.shard_count:
            raise ValueError(
                f"EXPLORE_SHARD_INDEX={self.shard_index}: must lie in 0..{self.shard_count - 1}, "
                f"since EXPLORE_SHARD_COUNT is {self.shard_count}"
            )
        return self

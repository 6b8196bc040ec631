"""What can be set about sourcing, and the settings of the service. The only defaults of this service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from features.integrity import NON_RECOMMENDABLE_THRESHOLD
from retrieval_svc.eligibility import MissingScore
from retrieval_svc.sources import SOURCES
from serving.config import Address, ServiceConfig

SOURCE_WEIGHTS = {
    "account_nn": 0.30,
    "topic_trending": 0.25,
    "trending": 0.20,
    "engaged_accounts": 0.15,
    "fresh": 0.10,
}


def _check_weights(weights: Mapping[str, float]) -> Mapping[str, float]:
    known = [source.name for source in SOURCES]
    unknown = sorted(weights.keys() - set(known))
    if unknown:
        raise ValueError(f"names unknown sources {unknown}; sources: {known}")
    if not any(weights.values()):
        raise ValueError(f"must give a source a weight above 0; sources: {known}")
    return weights


Weight = Annotated[FiniteFloat, Field(ge=0)]
SourceWeights = Annotated[Mapping[str, Weight], AfterValidator(_check_weights)]


class SourcingConfig(BaseModel):
    """How candidates are sourced."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_weights: SourceWeights = Field(default_factory=lambda: dict(SOURCE_WEIGHTS))  # not named: not asked
    non_recommendable_threshold: float = Field(default=NON_RECOMMENDABLE_THRESHOLD, ge=0, le=1)
    missing_integrity_score: MissingScore = "auto"
    over_propose: float = Field(default=2.0, ge=1, le=100)  # proposals asked for per candidate of a source's share


class RetrievalConfig(ServiceConfig, SourcingConfig):  # type: ignore[misc]  # pydantic merges the two model_config
    """The service: EXPLORE_LISTEN, EXPLORE_SOURCE_WEIGHTS (JSON) and so on."""

    listen: Address = "127.0.0.1:50051"
    warm_accounts: int = Field(default=5000, ge=0)  # accounts whose neighbours are looked up before the first call
    max_count: int = Field(default=5000, ge=1)  # candidates that one user may ask for

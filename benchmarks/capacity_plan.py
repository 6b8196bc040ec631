"""From what a page costs to what a target takes: replicas, shards, network, money. Pure arithmetic; assumptions are inputs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.config import Funnel

INSTAGRAM_PREDICTIONS_PER_S = 90e6  # ai.meta.com/blog/powered-by-ai-instagrams-explore-recommender-system, 2019
SHARDED = "retrieval_svc"
_GIB = 2**30 / 1e6  # megabytes


def predictions_per_page(funnel: Funnel) -> dict[str, int]:
    """How many candidates each ranking service scores for a page."""
    return {
        "prerank_svc": funnel.retrieval.keep,
        "rank_svc": funnel.prerank.keep,
        "rerank_svc": funnel.rank.keep,
    }


@dataclass(frozen=True)
class Assumptions:
    """What no measurement of ours says. Yours will differ: `--price`, `--media-millions` and so on."""

    predictions_per_s: float = INSTAGRAM_PREDICTIONS_PER_S
    utilisation: float = 0.6  # of the cores in use, so that bursts and a lost zone find room
    price_per_core_hour: float = 0.04  # in your currency, memory included
    media_millions: float = 10.0  # that may be recommended
    shard_gib: float = 8.0  # memory of the bundle that one retrieval shard may hold
    memory_room: float = 1.5  # limit / request: for the next bundle while it replaces this one, and for bursts


@dataclass(frozen=True)
class Service:
    """What was measured. `cpu_ms` per page, `memory` as a line over media."""

    cpu_ms: float
    fixed_mb: float
    mb_per_million: float


@dataclass(frozen=True)
class Sizing:
    """What a service needs. One replica is one process that computes on one core."""

    cpu_ms: float
    pages_per_core_s: float
    cores: float  # busy, at the target
    replicas: int
    shards: int
    memory_request_mb: float  # of a replica
    memory_limit_mb: float


@dataclass(frozen=True)
class Plan:
    """What the target takes."""

    pages_per_s: float
    services: Mapping[str, Sizing]
    replicas: int
    network_bytes_per_page: float
    network_gb_per_s: float
    cost_per_hour: float
    cost_per_million_pages: float


def plan(services: Mapping[str, Service], bytes_per_page: float, assumed: Assumptions, funnel: Funnel) -> Plan:
    """Sizes of all services for the pages whose candidates make up the assumed predictions."""
    pages_per_s = assumed.predictions_per_s / sum(predictions_per_page(funnel).values())
    sizings = {name: _sized(name, service, pages_per_s, assumed) for name, service in services.items()}
    replicas = sum(sizing.replicas for sizing in sizings.values())
    cost_per_hour = replicas * assumed.price_per_core_hour
    return Plan(
        pages_per_s=pages_per_s,
        services=sizings,
        replicas=replicas,
        network_bytes_per_page=bytes_per_page,
        network_gb_per_s=pages_per_s * bytes_per_page / 1e9,
        cost_per_hour=cost_per_hour,
        cost_per_million_pages=cost_per_hour / (pages_per_s * 3600) * 1e6,
    )


def _sized(name: str, service: Service, pages_per_s: float, assumed: Assumptions) -> Sizing:
    """Every shard is asked for every page, for its part of the work: the cores are shared out, not multiplied."""
    content_mb = service.mb_per_million * assumed.media_millions
    shards = max(math.ceil(content_mb / (assumed.shard_gib * _GIB)), 1) if name == SHARDED else 1
    cores = pages_per_s * service.cpu_ms / 1e3
    replicas = shards * max(math.ceil(cores / assumed.utilisation / shards), 1)
    request_mb = service.fixed_mb + content_mb / shards
    return Sizing(
        cpu_ms=service.cpu_ms,
        pages_per_core_s=1e3 / service.cpu_ms if service.cpu_ms > 0 else math.inf,
        cores=cores,
        replicas=replicas,
        shards=shards,
        memory_request_mb=request_mb,
        memory_limit_mb=request_mb * assumed.memory_room,
    )


def bytes_per_page(calls: Mapping[str, tuple[float, float]]) -> float:
    """What one page sends over the network: requests and answers of all hops."""
    return sum(sent + received for sent, received in calls.values())


def services_of(
    cpu_ms: Mapping[str, float], memory: Mapping[str, Mapping[str, Any]], names: tuple[str, ...]
) -> dict[str, Service]:
    """The measured figures, service by service."""
    return {
        name: Service(cpu_ms[name], float(memory[name]["fixed_mb"]), float(memory[name]["mb_per_million"]))
        for name in names
    }

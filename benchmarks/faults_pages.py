"""The pages that benchmarks/faults.py asks for, and what they say about the outages. Times are seconds of one monotonic clock."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc.aio
import numpy as np

from loadtests.retries import CLIENT_OPTIONS
from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub

FULL = 25
_STAGES = {
    "retrieval_svc": "retrieval",
    "prerank_svc": "prerank",
    "rank_svc": "rank",
    "rerank_svc": "rerank",
    "valkey": "user_state",
}


@dataclass(frozen=True)
class Page:
    """One answer: when it was asked for, how long it took, and what it said."""

    asked_s: float
    took_s: float
    status: str  # gRPC's name
    items: int = 0
    degraded: frozenset[str] = frozenset()  # stages
    detail: str = ""  # of the first degradation, or of the error


@dataclass(frozen=True)
class Outage:
    """One process that was killed, started again, and served."""

    victim: str
    killed_s: float
    restarted_s: float
    ready_s: float


async def pages_until(over: asyncio.Event, target: str, users: Sequence[str], deadline_s: float) -> list[Page]:
    """Asks for the page of one user after the other, each when the one before is there, until `over`."""
    pages = []
    async with grpc.aio.insecure_channel(target, options=CLIENT_OPTIONS) as channel:
        stub = ExploreServiceStub(channel)
        for user in itertools.cycle(users):
            if over.is_set():
                break
            pages.append(await _page(stub, user, deadline_s))
    return pages


async def _page(stub: Any, user: str, deadline_s: float) -> Page:
    asked_s = time.monotonic()
    try:
        page = await stub.GetFeed(GetFeedRequest(user_id=user), timeout=deadline_s)
    except grpc.aio.AioRpcError as error:
        return Page(asked_s, time.monotonic() - asked_s, error.code().name, detail=str(error.details()))
    degraded = frozenset(entry.stage for entry in page.degradations)
    detail = next((entry.detail for entry in page.degradations), "")
    return Page(asked_s, time.monotonic() - asked_s, "OK", len(page.items), degraded, detail)


def figures_of(pages: Sequence[Page], outages: Sequence[Outage]) -> dict[str, Any]:
    """Plain figures over all pages and by outage; the period of an outage lasts until the next process is killed."""
    ends = [outage.killed_s for outage in outages[1:]] + [float("inf")]
    first = outages[0].killed_s if outages else float("inf")
    periods = [_before(pages, first)]
    periods += [_period(pages, outage, end) for outage, end in zip(outages, ends, strict=True)]
    return {
        **_summary(pages),
        "unflagged": sum(period["unflagged"] for period in periods),
        "recovery_s": max(period["recovery_s"] for period in periods),
        "periods": periods,
    }


def _before(pages: Sequence[Page], end_s: float) -> dict[str, Any]:
    mine = [page for page in pages if page.asked_s < end_s]
    return {"victim": "nothing yet", **_summary(mine), "unflagged": 0, "out_s": 0.0, "recovery_s": 0.0}


def _period(pages: Sequence[Page], outage: Outage, end_s: float) -> dict[str, Any]:
    mine = [page for page in pages if outage.killed_s <= page.asked_s < end_s]
    stage = _STAGES.get(outage.victim)  # None for a gateway: the other one lacks nothing
    # Asked after the death and answered before the restart: nobody can have helped.
    without = [page for page in mine if page.asked_s + page.took_s < outage.restarted_s and page.status == "OK"]
    # A page that was not there yet when the next process died may lack that one.
    whole = [page for page in mine if outage.ready_s < page.asked_s and page.asked_s + page.took_s < end_s]
    late = [page for page in whole if page.degraded or page.status != "OK"]
    return {
        "victim": outage.victim,
        **_summary(mine),
        "unflagged": sum(stage not in page.degraded for page in without) if stage else 0,
        "out_s": outage.ready_s - outage.killed_s,
        "recovery_s": max((page.asked_s - outage.ready_s for page in late), default=0.0),
        "late": [f"{page.asked_s - outage.ready_s:.2f} s: {page.detail}" for page in late[-3:]],
    }


def _summary(pages: Sequence[Page]) -> dict[str, Any]:
    took_s = [page.took_s for page in pages] or [float("nan")]
    return {
        "pages": len(pages),
        "failed": sum(page.status != "OK" for page in pages),
        "short": sum(page.status == "OK" and page.items < FULL for page in pages),
        "degraded": sum(bool(page.degraded) for page in pages),
        "p50_s": float(np.percentile(took_s, 50)),
        "p99_s": float(np.percentile(took_s, 99)),
        "statuses": {name: sum(page.status == name for page in pages) for name in sorted({p.status for p in pages})},
    }

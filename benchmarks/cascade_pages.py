"""Are the pages the same? The naive floor's and ours, and every server's and ours, for the same users at the same moments."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import valkey.asyncio

from benchmarks.cascade_floors import Floors, Pages
from benchmarks.cascade_servers import Client, Server
from benchmarks.floor import Asked
from benchmarks.sourcing_world import NOW_MS
from features.user_state import UserStateStore


def compared_floors(floors: Floors, users: list[str]) -> dict[str, float]:
    """The pages of both floors."""
    asked = [Asked(user, NOW_MS + 1_000 * number) for number, user in enumerate(users)]
    naive, ours = (floors.workers[kind][0].pages(asked) for kind in ("naive", "ours"))
    return differences(naive, ours)


def compared_servers(
    client: Client, servers: Mapping[str, Server], floors: Floors, users: list[str], valkey_url: str
) -> dict[str, Any]:
    """Pages of every server, each of other users, and those that our floor makes of the same users and moments.

    What a page showed tells when it was made; our floor then takes it for unseen again.
    """
    found: dict[str, Any] = {}
    share = len(users) // len(servers)
    for number, (name, server) in enumerate(servers.items()):
        own = users[number * share : (number + 1) * share]
        pages = [client.page(server, user) for user in own]
        lost = [each for page in pages for each in page["degradations"]]
        asked = asyncio.run(_as_asked(own, [page["request_id"] for page in pages], valkey_url))
        served: Pages = [[(media, value) for media, value in page["items"]] for page in pages]
        same = differences(served, floors.workers["ours"][0].pages(asked))
        found[name] = {**same, "degradations": lost}
    return found


async def _as_asked(users: Sequence[str], request_ids: Sequence[str], valkey_url: str) -> list[Asked]:
    async with valkey.asyncio.from_url(valkey_url) as client:
        store = UserStateStore(client)
        exposures = [
            (await store.exposures(user, [request_id])).get(request_id)
            for user, request_id in zip(users, request_ids, strict=True)
        ]
    if None in exposures:
        raise RuntimeError("a page was not remembered, so nobody knows when it was made")
    return [
        Asked(each.user_id, each.time_ms, tuple(each.media_id_K.tolist())) for each in exposures if each is not None
    ]


def differences(some: Pages, others: Pages) -> dict[str, float]:
    """How many pages hold the same ids, in the same order, and how far the values of the same media lie apart at most."""
    worst, same, in_order = 0.0, 0, 0
    for one, other in zip(some, others, strict=True):
        values = dict(other)
        same += {media for media, _ in one} == values.keys()
        in_order += [media for media, _ in one] == [media for media, _ in other]
        worst = max([worst, *(abs(value - values[media]) for media, value in one if media in values)])
    pages = max(len(some), 1)
    return {"pages": len(some), "same_ids": same / pages, "same_order": in_order / pages, "worst_value_gap": worst}

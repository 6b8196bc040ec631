"""How soon does a page reflect a like or a hide? Newcomers on a running stack, who like, ask, hide and ask again.

The clock starts when the gateway has acknowledged the event, and stops when the first page asked after that is there. A like must
make the page of a user without history personal; a hide must take the author off the next page, who was on both pages before
although neither shows what the other did.
`python -m benchmarks.freshness [--quick] [--home HOME]`
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import polars as pl
from rich import box
from rich.table import Table

from benchmarks.homes import running_stack, trained_home
from benchmarks.report import TABLES, Result, at_least, at_most, command_line, finish
from cli.commands.stack import active_manifest
from cli.progress import Report, steps
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from protos.explore.v1.feedback_pb2 import Action, Event, LogEventsRequest
from protos.explore.v1.feedback_pb2_grpc import FeedbackServiceStub
from training.datasets import load

MOST_MS = 100.0  # p99 from the acknowledgement to the page
LIKES = 4  # of one author
WARM_UP = 10  # users who are not measured
_TIMEOUT_S = 10.0

Media = list[tuple[int, int]]  # media id, author id


def main() -> int:
    """Measures, prints the table and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="explore-freshness-") as scratch:
        workspace = trained_home(arguments.home, Path(scratch))
        found = _measured(workspace, Path(scratch), 60 if arguments.quick else 500)
    like, hide = _percentiles(found.like_ms), _percentiles(found.hide_ms)
    figures = {
        "users": found.users,
        "hides_of_an_author_on_both_pages": found.hides,
        "like": like,
        "hide": hide,
        "acknowledge": _percentiles(found.acknowledge_ms),
    }
    checks = [
        at_least("first pages after a like that reflect it / all", found.liked / found.users, 1.0),
        at_least("first pages after a hide that reflect it / all", found.hidden / max(1, found.hides), 1.0),
        at_least("users who had an author on both pages before / all", found.hides / found.users, 0.5),
        at_most("ms from the acknowledgement of a like to the page, p99", like["p99"], MOST_MS),
        at_most("ms from the acknowledgement of a hide to the page, p99", hide["p99"], MOST_MS),
    ]
    name = "freshness_quick" if arguments.quick else "freshness"
    result = Result(name, command_line("benchmarks.freshness"), figures, checks, [_table(figures)])
    return finish(result, tables=None if arguments.quick else TABLES)


@dataclass
class _Found:
    """What the users met. A hide counts where an author was on both pages before."""

    users: int = 0
    liked: int = 0
    hides: int = 0
    hidden: int = 0
    like_ms: list[float] = field(default_factory=list)
    hide_ms: list[float] = field(default_factory=list)
    acknowledge_ms: list[float] = field(default_factory=list)


class _Client:
    """A device: logs what its user does, and asks for pages."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._feed, self._feedback = ExploreServiceStub(channel), FeedbackServiceStub(channel)

    def page(self, user_id: str) -> tuple[GetFeedResponse, float]:
        """The first page of a feed of the user, and the milliseconds that it took."""
        start = time.perf_counter()
        response = self._feed.GetFeed(GetFeedRequest(user_id=user_id), timeout=_TIMEOUT_S)
        return response, (time.perf_counter() - start) * 1e3

    def log(self, user_id: str, action: Action, media: Media) -> float:
        """Milliseconds until it was acknowledged."""
        now_ms = time.time_ns() // 1_000_000
        events = [
            Event(
                event_id=f"{user_id}-{action}-{media_id}",
                user_id=user_id,
                media_id=media_id,
                author_id=author_id,
                action=action,
                event_time_ms=now_ms - len(media) + place,
            )
            for place, (media_id, author_id) in enumerate(media)
        ]
        start = time.perf_counter()
        self._feedback.LogEvents(LogEventsRequest(events=events), timeout=_TIMEOUT_S)
        return (time.perf_counter() - start) * 1e3


def _measured(workspace: Workspace, scratch: Path, users: int) -> _Found:
    manifest = active_manifest(workspace)
    dataset = workspace.dataset(manifest.dataset)
    authors = _busy_authors(dataset)
    with running_stack(workspace, scratch) as running:
        address = running.ports.address("gateway")
        with grpc.insecure_channel(address) as channel, steps() as progress, progress.step("users") as report:
            return _asked(_Client(channel), authors, users, report)


def _busy_authors(dataset: Path) -> list[Media]:
    """Of each of the authors with enough harmless media: as much as is liked."""
    media = load(dataset).media.filter(pl.col("non_recommendable_score").fill_null(0) < 0.1)
    by_author = media.group_by("author_id", maintain_order=True).agg(pl.col("media_id"))
    busy = by_author.filter(pl.col("media_id").list.len() > 2 * LIKES)
    return [[(media_id, author) for media_id in ids[:LIKES]] for author, ids in busy.iter_rows()]


def _asked(client: _Client, authors: Sequence[Media], users: int, report: Report) -> _Found:
    _visit(client, authors, [f"warm-up-{number}" for number in range(WARM_UP)], _Found(), lambda done, total: None)
    found = _Found()
    _visit(client, authors, [f"newcomer-{number}" for number in range(users)], found, report)
    return found


def _visit(client: _Client, authors: Sequence[Media], users: Sequence[str], found: _Found, report: Report) -> None:
    for number, user in enumerate(users):
        before, _ = client.page(user)
        found.acknowledge_ms.append(client.log(user, Action.ACTION_LIKE, authors[number % len(authors)]))
        liked, like_ms = client.page(user)
        found.users += 1
        found.liked += before.cold_start and not liked.cold_start
        found.like_ms.append(like_ms)
        again, _ = client.page(
            user
        )  # without what was just shown: who is on it all the same would stay, were it not for the hide
        staying = [(item.media_id, item.author_id) for item in again.items if item.author_id in _authors(liked)]
        if staying:
            found.acknowledge_ms.append(client.log(user, Action.ACTION_HIDE, staying[:1]))
            hidden, hide_ms = client.page(user)
            found.hides += 1
            found.hidden += staying[0][1] not in _authors(hidden)
            found.hide_ms.append(hide_ms)
        report(number + 1, len(users))


def _authors(page: GetFeedResponse) -> set[int]:
    return {item.author_id for item in page.items}


def _percentiles(times_ms: list[float]) -> dict[str, float]:
    return {f"p{at}": float(np.percentile(times_ms or [1e9], at)) for at in (50, 95, 99)}


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title=f"Milliseconds, {figures['users']} users one after the other", box=box.SIMPLE_HEAD)
    for column in ("", "p50", "p95", "p99"):
        table.add_column(column, justify="right" if column else "left")
    for label, key in (
        ("from the acknowledgement of a like to the page", "like"),
        ("from the acknowledgement of a hide to the page", "hide"),
        ("until an event is acknowledged", "acknowledge"),
    ):
        table.add_row(label, *(f"{figures[key][at]:.1f}" for at in ("p50", "p95", "p99")))
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freshness", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer users")
    parser.add_argument("--home", type=Path, help="a workspace with an active bundle; a tiny world is made if left out")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

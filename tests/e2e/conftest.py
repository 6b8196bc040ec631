"""A real stack on a small world: simulated, trained and served once for all end-to-end tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import polars as pl
import pytest

from cli import stack as stacks
from cli.commands.stack import active_manifest, stack_plan, users_of
from cli.stack import Ports, RunningStack, StackPlan, describe
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from training.datasets import Dataset, load

LOGGED_REQUESTS = 200  # fewer do not teach a student
REQUESTS_PER_FILE = 20


@dataclass(frozen=True)
class Served:
    """A running stack, and how to ask it."""

    workspace: Workspace
    dataset: Dataset
    stack: RunningStack
    plan: StackPlan

    def page(self, user_id: str, **fields: object) -> GetFeedResponse:
        """One page."""
        with grpc.insecure_channel(self.stack.ports.address("gateway")) as channel:
            return ExploreServiceStub(channel).GetFeed(GetFeedRequest(user_id=user_id, **fields), timeout=30)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def workspace(trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the trained workspace, as these tests publish, activate and spoil bundles."""
    return Workspace(shutil.copytree(trained.home, tmp_path_factory.mktemp("workspace") / "home"))


@pytest.fixture(scope="session")
def start_stack(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Starts stacks on free ports with their own Valkey, and ends them."""
    running: list[Served] = []

    def start(settings: Mapping[str, str] | None = None) -> Served:
        scratch = tmp_path_factory.mktemp("stack")
        data = workspace.dataset("simulated")
        plan = replace(
            stack_plan(workspace, active_manifest(workspace), Ports.free()),
            run=scratch / "run",
            user_state=scratch / "valkey",
            funnel_log=scratch / "funnel",
            settings={"FUNNEL_LOG_SHARE": "0"} | dict(settings or {}),
        )
        served = Served(workspace, load(data), stacks.start(plan, users_of(data), lambda _: None), plan)
        running.append(served)
        return served

    yield start
    for served in running:
        stacks.stop(served.stack, served.plan.run)


@pytest.fixture(scope="session")
def served(start_stack: Callable[..., Served]) -> Served:
    """The stack that tests only ask, never break. Its gateway logs every request that it can."""
    return start_stack({"FUNNEL_LOG_SHARE": "1", "FUNNEL_LOG_REQUESTS": str(REQUESTS_PER_FILE)})


@dataclass(frozen=True)
class FunnelLog:
    """A directory that a gateway logs to, and the full pages of known users that were asked for to fill it."""

    directory: Path
    request_ids: frozenset[str]

    def read(self) -> pl.DataFrame:
        """The rows of those pages; other tests ask the same gateway for other things."""
        mine = pl.LazyFrame({"request_id": sorted(self.request_ids)})
        return pl.scan_parquet(self.directory / "*.parquet").join(mine, on="request_id", how="semi").collect()


@pytest.fixture(scope="session")
def funnel_log(served: Served) -> FunnelLog:
    """The log after so many pages that LOGGED_REQUESTS of them are in it; on a busy machine most are dropped."""
    directory = served.plan.funnel_log
    assert directory is not None
    request_ids: set[str] = set()
    for user in served.dataset.users["user_id"].to_list() * 5:
        request_ids.add(served.page(user).request_id)
        if len(list(directory.glob("funnel-*.parquet"))) * REQUESTS_PER_FILE >= LOGGED_REQUESTS:
            log = FunnelLog(directory, frozenset(request_ids))
            if log.read()["request_id"].n_unique() >= LOGGED_REQUESTS:
                return log
    raise AssertionError(describe(served.stack.processes[-1], served.stack.ports).note)

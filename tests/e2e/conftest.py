"""A real stack on a small world: simulated, trained and served once for all end-to-end tests."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from cli import stack as stacks
from cli.commands.stack import active_manifest, stack_plan, users_of
from cli.stack import Ports, RunningStack, StackPlan, describe
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from training.datasets import Dataset, load

LOGGED_REQUESTS = 200
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


@pytest.fixture(scope="session")
def funnel_log(served: Served) -> Path:
    """The log after so many pages that LOGGED_REQUESTS of them are in it; on a busy machine most are dropped."""
    directory = served.plan.funnel_log
    assert directory is not None
    for user in served.dataset.users["user_id"].to_list() * 5:
        served.page(user)
        if len(list(directory.glob("funnel-*.parquet"))) * REQUESTS_PER_FILE >= LOGGED_REQUESTS:
            return directory
    raise AssertionError(describe(served.stack.processes[-1], served.stack.ports).note)

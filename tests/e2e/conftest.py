"""A real stack on a small world: simulated, trained and served once for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from cli import stack as stacks
from cli.commands.data import WorldSize, make_simulated
from cli.commands.stack import active_manifest, stack_plan, users_of
from cli.commands.train import train_bundle
from cli.stack import Ports, RunningStack, StackPlan
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from training.datasets import Dataset, load


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
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a tiny world and an active bundle trained on it."""
    made = Workspace(tmp_path_factory.mktemp("workspace"))
    make_simulated(made, WorldSize.TINY, None, "simulated")
    train_bundle(made, made.current_dataset(), "tiny", None, activate=True)
    return made


@pytest.fixture(scope="session")
def start_stack(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Starts stacks on free ports with their own Valkey, and ends them."""
    running: list[Served] = []

    def start(settings: dict[str, str] | None = None) -> Served:
        scratch = tmp_path_factory.mktemp("stack")
        data = workspace.dataset("simulated")
        plan = replace(
            stack_plan(workspace, active_manifest(workspace), Ports.free()),
            run=scratch / "run",
            user_state=scratch / "valkey",
            settings=settings or {},
        )
        served = Served(workspace, load(data), stacks.start(plan, users_of(data), lambda _: None), plan)
        running.append(served)
        return served

    yield start
    for served in running:
        stacks.stop(served.stack, served.plan.run)


@pytest.fixture(scope="session")
def served(start_stack: Callable[..., Served], request_logs: Path) -> Served:
    """The stack that tests only ask, never break. Its ranking services log every request."""
    return start_stack({"REQUEST_LOG": str(request_logs), "REQUEST_LOG_SHARE": "1"})


@pytest.fixture(scope="session")
def request_logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("request-logs")

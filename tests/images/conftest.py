"""The five services as containers of the serve image, beside a Valkey of the host. Skipped where there is no such image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from valkey import Valkey

from benchmarks.engines import IMAGE, Containers, checkout_revision, container_command, image_revision
from benchmarks.rollout_fleet import Fleet, fleet_on
from cli.commands.stack import active_manifest, clock_for, users_of
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub


@pytest.fixture(scope="session")
def command() -> str:
    """podman or docker, whichever holds a serve image of this very checkout."""
    found = container_command()
    if found is None:
        pytest.skip(f"neither podman nor docker holds {IMAGE}: `make images` makes it")
    if (built := image_revision(found)) != (here := checkout_revision()):
        pytest.skip(f"{IMAGE} is of {built}, this checkout is {here}: `make images` renews it")
    return found


@dataclass(frozen=True)
class Deployed:
    """Running containers, and how to ask their gateway."""

    engine: Containers
    fleet: Fleet
    workspace: Workspace

    def page(self, user_id: str) -> GetFeedResponse:
        """One page."""
        with grpc.insecure_channel(self.fleet.addresses["gateway-1"]) as channel:
            page: GetFeedResponse = ExploreServiceStub(channel).GetFeed(GetFeedRequest(user_id=user_id), timeout=30)
        return page


@pytest.fixture(scope="module")
def deployed(command: str, trained: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One replica of each service, and the state of all users."""
    scratch = tmp_path_factory.mktemp("containers")
    engine = Containers(trained.bundles().root, scratch / "logs", command)
    with fleet_on(engine, 1, clock_for(active_manifest(trained)), scratch) as (fleet, valkey_url):
        with Valkey.from_url(valkey_url) as client:
            users_of(trained.current_dataset())(client)
        fleet.start()
        yield Deployed(engine, fleet, trained)

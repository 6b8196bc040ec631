"""A fake gateway in this process, and a client of it whose reports are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from loadtests.client import ExploreClient
from tests.loadtests.fake_gateway import FakeGateway


@dataclass
class Asked:
    """A fake gateway, a client of it, and what the client reported."""

    gateway: FakeGateway
    client: ExploreClient
    reports: list[dict[str, Any]] = field(default_factory=list)

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Request type, name and error of each report."""
        return [(r["request_type"], r["name"], str(r["exception"] or "")) for r in self.reports]


@pytest.fixture
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    """Spoils what the test's parameter says; of two pages, the second."""
    gateway = FakeGateway(spoil=getattr(request, "param", "none"))
    server, port = gateway.start()
    reports: list[dict[str, Any]] = []
    client = ExploreClient(f"127.0.0.1:{port}", lambda **report: reports.append(report), deadline_s=5.0)
    yield Asked(gateway, client, reports)
    client.close()
    server.stop(None).wait()

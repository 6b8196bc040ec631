"""What the tests of the manifests run on: every overlay, rendered once."""

from __future__ import annotations

import pytest

from tests.k8s.manifests import OVERLAYS, Cluster, overlay


@pytest.fixture(params=OVERLAYS)
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Each overlay."""
    return overlay(request.param)

"""The world that most tests of sourcing compute by hand."""

from __future__ import annotations

import pytest

from retrieval_svc.catalogue import Catalogue
from tests.retrieval_svc.worlds import catalogue_of, hand_made


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return catalogue_of(hand_made())

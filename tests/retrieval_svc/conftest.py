"""The world that most tests of sourcing compute by hand, and the conditions that they run under."""

from __future__ import annotations

import faiss
import pytest

from retrieval_svc.catalogue import Catalogue
from tests.retrieval_svc.worlds import catalogue_of, hand_made

faiss.omp_set_num_threads(1)  # as the service does


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return catalogue_of(hand_made())

"""The service on bundles that change while it serves."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from tests.retrieval_svc.published import publish
from tests.retrieval_svc.worlds import NOBODY_SAW, likes, user


@pytest.fixture
def no_gc() -> Iterator[None]:
    """What is freed is freed because nothing refers to it any more: nobody can say when cycles would go."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_gc")
def test_a_dropped_engine_frees_its_catalogue_and_indexes(tmp_path: Path) -> None:
    takedowns = tmp_path / "takedowns.txt"
    takedowns.write_text("media 100\n")
    engine = RetrievalEngine(Catalogue.open(publish(tmp_path / "bundles")), SourcingConfig(takedown_file=takedowns))
    answer = engine.retrieve(user(history=likes(100)), [NOBODY_SAW], np.array([5]))
    parts = (engine, engine.catalogue, engine.catalogue.media, engine.catalogue.accounts, engine.catalogue.items)
    watched = [weakref.ref(part) for part in (*parts, engine.catalogue.items.media_vector_MD)]
    del engine, parts
    assert (len(answer.candidates), [each() for each in watched]) == (5, [None] * len(watched))

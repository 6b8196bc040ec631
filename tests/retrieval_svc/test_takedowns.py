from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from retrieval_svc.sourced import Sourced
from tests.retrieval_svc.worlds import NOBODY_SAW, catalogue_of, hand_made, likes, user


@pytest.fixture
def file(tmp_path: Path) -> Path:
    empty = tmp_path / "takedowns.txt"
    empty.touch()
    return empty


@pytest.fixture
def engine(file: Path) -> RetrievalEngine:
    return RetrievalEngine(catalogue_of(hand_made()), SourcingConfig(takedown_file=file))


def found(engine: RetrievalEngine) -> Sourced:
    return engine.retrieve(user(history=likes(100)), [NOBODY_SAW], np.array([50]))


def ids(engine: RetrievalEngine) -> set[int]:
    return set(found(engine).candidates.media_id_N.tolist())


def test_what_is_taken_down_is_gone_from_the_next_request_on_and_comes_back(
    engine: RetrievalEngine, file: Path
) -> None:
    before = ids(engine)
    assert {200, 201, 202, 301} <= before
    file.write_text("media 301\naccount 20\n")
    assert ids(engine) == before - {200, 201, 202, 301}
    file.write_text("media 301\n")
    assert ids(engine) == before - {301}
    file.unlink()
    assert ids(engine) == before - {301}  # a list that is gone is no list that is empty
    assert "there is no such file" in engine.refused
    file.touch()
    assert (ids(engine), engine.refused) == (before, "")


def test_takedowns_are_counted_by_their_reason(engine: RetrievalEngine, file: Path) -> None:
    file.write_text("media 301\n")
    reports = found(engine).reports
    assert reports.dropped_BSR[0, :, reports.reasons.index("taken_down")].sum() >= 1


def test_no_neighbour_is_a_taken_down_account(engine: RetrievalEngine, file: Path) -> None:
    neighbours = engine.catalogue.accounts.neighbours
    assert neighbours(np.array([0]), 2)[0].tolist() == [[1, 3]]
    file.write_text("account 20\n")
    found(engine)
    assert neighbours(np.array([0]), 2)[0].tolist() == [[3, -1]]
    file.write_text("")
    found(engine)
    assert neighbours(np.array([0]), 2)[0].tolist() == [[1, 3]]


def test_ids_that_the_bundle_lacks_change_nothing(engine: RetrievalEngine, file: Path) -> None:
    before = ids(engine)
    file.write_text("media 999\naccount 999\n")
    assert ids(engine) == before


def test_a_broken_list_leaves_the_one_before_in_force(engine: RetrievalEngine, file: Path) -> None:
    file.write_text("media 301\n")
    assert 301 not in ids(engine)
    file.write_text("media 301\nmedium 302\n")
    assert 301 not in ids(engine)
    assert "takedowns.txt:2" in engine.refused

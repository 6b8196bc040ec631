from __future__ import annotations

import numpy as np

from features.context import concatenate
from features.counters import HOUR_MS
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.sources.fresh import FreshSource
from tests.retrieval_svc.sources.proposing import propose, proposed
from tests.retrieval_svc.worlds import NOW, catalogue_of, random_items, user

MANY = catalogue_of(random_items(4, media=2000))
SOURCE = FreshSource(window=400)


def test_media_come_from_the_newest_that_are_published() -> None:
    found = proposed(propose(SOURCE, MANY, user(), 100), MANY)
    published = MANY.items.created_at_ms_M <= NOW
    newest_first = MANY.items.media_id_M[published][np.argsort(-MANY.items.created_at_ms_M[published], kind="stable")]
    assert len(set(found)) == 100
    assert set(found) <= set(newest_first[:400].tolist())


def test_everybody_gets_an_own_sample_and_every_request_another() -> None:
    asked = concatenate([user("ann"), user("bob"), user("ann", at_ms=NOW - HOUR_MS)])
    ann, bob, earlier = np.split(propose(SOURCE, MANY, asked, 50).media_row_P, 3)
    assert len(np.intersect1d(ann, bob)) < 25
    assert len(np.intersect1d(ann, earlier)) < 25


def test_the_same_request_gets_the_same_sample() -> None:
    assert proposed(propose(SOURCE, MANY, user(), 50), MANY) == proposed(propose(SOURCE, MANY, user(), 50), MANY)


def test_every_media_item_of_the_window_has_a_chance() -> None:
    crowd = concatenate([user(f"user-{i}") for i in range(200)])
    drawn = np.unique(propose(SOURCE, MANY, crowd, 40).media_row_P)
    assert len(drawn) == 400


def test_a_large_wish_widens_the_window(catalogue: Catalogue) -> None:
    found = proposed(propose(FreshSource(window=1), catalogue, user(), 12), catalogue)
    assert sorted(found) == catalogue.items.media_id_M.tolist()


def test_before_the_first_media_item_there_is_nothing_fresh(catalogue: Catalogue) -> None:
    assert proposed(propose(SOURCE, catalogue, user(at_ms=1)), catalogue) == []

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles import layout
from bundles.errors import BundleCorrupt, UnknownFile
from features.assemble import assemble, candidate_view
from features.context import UserContexts, concatenate
from features.dense import FEATURES
from features.embeddings import sparse_input
from features.schema import Stage, of_stage
from rerank_svc.scorer import RerankScorer
from serving.errors import ModelUnreadable
from tests.rank_svc.published import TASKS, candidates, probabilities, publish
from tests.rerank_svc.deep_graph import deep_graph, tables, write
from tests.retrieval_svc.worlds import hand_made, likes, random_users, user

ITEMS = hand_made()
UNIT = np.array([[1.0, 0.5, -2.0]])

media = st.lists(st.sampled_from([*ITEMS.media_id_M.tolist(), 999]), max_size=20)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> RerankScorer:
    return RerankScorer.open(publish(tmp_path_factory.mktemp("bundles"), fill=write))


def expected(contexts: UserContexts, media_ids: list[int]) -> np.ndarray:
    """What the graph computes for one user, by numpy."""
    row_N = ITEMS.rows(np.array(media_ids))
    view = candidate_view(contexts, ITEMS, row_N, np.zeros_like(row_N))
    sparse = sparse_input(view, tables())
    sequence_N = sparse.item_NK @ sparse.history_BLK[0].mean(axis=0)
    slots = sparse.history_action_BL[0].sum() + sparse.history_age_BL[0].sum()
    dense_NT = probabilities(assemble(view, of_stage(FEATURES, Stage.RERANK)), 3)
    logit_NT = np.log(dense_NT / (1 - dense_NT)) + sequence_N[:, None] + 0.01 * slots
    return 1 / (1 + np.exp(-logit_NT))


def test_probabilities_and_value_are_the_graphs(scorer: RerankScorer) -> None:
    ann = user(history=likes(100, 301))
    scored = scorer.score(ann, candidates([100, 402]), UNIT)
    assert scorer.tasks == TASKS
    assert scored.probability_NT == pytest.approx(expected(ann, [100, 402]), abs=1e-5)
    assert scored.score_N == pytest.approx(expected(ann, [100, 402]) @ UNIT[0], abs=1e-5)


def test_every_user_is_matched_with_the_own_history(scorer: RerankScorer) -> None:
    ann, bob = user(history=likes(100, 301)), user("bob", likes(400))
    scored = scorer.score(concatenate([ann, bob]), candidates([201], [201]), np.repeat(UNIT, 2, 0))
    both = np.concatenate([expected(ann, [201]), expected(bob, [201])])
    assert scored.probability_NT == pytest.approx(both, abs=1e-5)
    assert np.abs(both[0] - both[1]).max() > 1e-3


def test_media_that_the_table_does_not_know_are_unscored(scorer: RerankScorer) -> None:
    scored = scorer.score(user(), candidates([999, 100, 1]), UNIT)
    assert np.isnan(scored.score_N).tolist() == [True, False, True]


def test_a_user_without_candidates_is_fine(scorer: RerankScorer) -> None:
    both = concatenate([user(), user("bob")])
    assert scorer.score(both, candidates([], [100]), np.repeat(UNIT, 2, 0)).score_N.shape == (1,)
    assert scorer.score(both, candidates([], []), np.repeat(UNIT, 2, 0)).score_N.shape == (0,)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.lists(media, min_size=1, max_size=5))
def test_a_score_never_depends_on_the_rest_of_the_batch(
    scorer: RerankScorer, seed: int, lists: list[list[int]]
) -> None:
    contexts, _ = random_users(ITEMS, seed, len(lists))
    weight_BT = np.repeat(UNIT, len(lists), 0)
    together = scorer.score(contexts, candidates(*lists), weight_BT).score_N
    apart = [
        scorer.score(contexts, candidates(*others), weight_BT).score_N
        for others in ([ids if b == user else [] for b, ids in enumerate(lists)] for user in range(len(lists)))
    ]
    assert together == pytest.approx(np.concatenate(apart), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("graph", "complaint"),
    [
        (deep_graph(width=5), "width of item_NK: found 5"),
        (deep_graph(outputs=2), "the tasks of the manifest need"),
        (deep_graph(drop="history_age_BL"), "inputs: found"),
        (deep_graph(metadata={"schema_fingerprint": "of another release"}), "schema_fingerprint: found of another"),
        (b"garbage", "cannot be loaded"),
    ],
)
def test_a_graph_that_does_not_fit_is_named_with_the_mismatch(tmp_path: Path, graph: bytes, complaint: str) -> None:
    with pytest.raises(ModelUnreadable, match=rf"(?s)rerank/model\.onnx.*{complaint}"):
        RerankScorer.open(publish(tmp_path, fill=lambda staged: write(staged, graph)))


def test_tables_of_another_catalogue_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleCorrupt, match=r"embeddings/media\.npy.*expected 12 rows"):
        RerankScorer.open(publish(tmp_path, fill=lambda staged: write(staged, media=11)))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    def spoil(staged: Path) -> None:
        (staged / layout.RERANK_EMBEDDINGS / "topic.npy").unlink()

    with pytest.raises(BundleCorrupt, match=r"rerank/embeddings.*topic\.npy"):
        RerankScorer.open(publish(tmp_path, fill=write, spoil=spoil))


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    def spoil(staged: Path) -> None:
        (staged / layout.model(Stage.RERANK)).unlink()

    with pytest.raises(UnknownFile, match=r"rerank/model\.onnx"):
        RerankScorer.open(publish(tmp_path, fill=write, spoil=spoil))


def test_a_dropped_scorer_frees_its_session_and_tables(tmp_path: Path) -> None:
    gc.collect()
    gc.disable()  # what is freed is freed because nothing refers to it any more
    try:
        scorer = RerankScorer.open(publish(tmp_path, fill=write))
        model = scorer._model
        watched = [weakref.ref(part) for part in (scorer, model, model._session, model._items)]
        scored = scorer.score(user(history=likes(100)), candidates([100]), UNIT)
        del scorer, model
        assert (len(scored.score_N), [each() for each in watched]) == (1, [None] * len(watched))
    finally:
        gc.enable()

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles.bundle import Bundle
from bundles.errors import UnknownFile
from features.assemble import assemble, candidate_view
from features.context import concatenate
from features.dense import FEATURES
from features.schema import Stage, of_stage
from prerank_svc.scorer import PrerankScorer
from serving.errors import ModelUnreadable
from tests.rank_svc.published import candidates, dense_graph, probabilities, publish, write_model
from tests.retrieval_svc.worlds import hand_made, likes, random_users, user

GRAPH = partial(dense_graph, Stage.PRERANK, "score_N")
ITEMS = hand_made()
NO_TASKS = np.empty((1, 0))

media = st.lists(st.sampled_from([*ITEMS.media_id_M.tolist(), 999]), max_size=40)


def published(root: Path, graph: bytes) -> Bundle:
    return publish(root, fill=lambda staged: write_model(staged, Stage.PRERANK, graph))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> PrerankScorer:
    return PrerankScorer.open(published(tmp_path_factory.mktemp("bundles"), GRAPH(1)))


def test_the_score_is_the_models(scorer: PrerankScorer) -> None:
    ann, row_N = user(history=likes(100, 301)), ITEMS.rows(np.array([100, 402]))
    dense_NF = assemble(candidate_view(ann, ITEMS, row_N, np.zeros_like(row_N)), of_stage(FEATURES, Stage.PRERANK))
    scored = scorer.score(ann, candidates([100, 402]), NO_TASKS)
    assert scored.score_N == pytest.approx(probabilities(dense_NF, 1)[:, 0], abs=1e-5)


def test_it_predicts_no_tasks(scorer: PrerankScorer) -> None:
    assert scorer.tasks == ()
    assert scorer.score(user(), candidates([100]), NO_TASKS).probability_NT is None


def test_media_that_the_table_does_not_know_are_unscored(scorer: PrerankScorer) -> None:
    scored = scorer.score(user(), candidates([999, 100, 1]), NO_TASKS)
    assert np.isnan(scored.score_N).tolist() == [True, False, True]


def test_a_user_without_candidates_is_fine(scorer: PrerankScorer) -> None:
    both = concatenate([user(), user("bob")])
    assert scorer.score(both, candidates([], [100]), np.empty((2, 0))).score_N.shape == (1,)
    assert scorer.score(both, candidates([], []), np.empty((2, 0))).score_N.shape == (0,)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.lists(media, min_size=1, max_size=5))
def test_a_score_never_depends_on_the_rest_of_the_batch(
    scorer: PrerankScorer, seed: int, lists: list[list[int]]
) -> None:
    contexts, _ = random_users(ITEMS, seed, len(lists))
    weights = np.empty((len(lists), 0))
    together = scorer.score(contexts, candidates(*lists), weights).score_N
    apart = [
        scorer.score(contexts, candidates(*others), weights).score_N
        for others in ([ids if b == user else [] for b, ids in enumerate(lists)] for user in range(len(lists)))
    ]
    assert together == pytest.approx(np.concatenate(apart), abs=1e-5, nan_ok=True)


@pytest.mark.parametrize(
    ("graph", "complaint"),
    [
        (GRAPH(1, width=7), "width of dense_NF: found 7"),
        (GRAPH(2), "score_N has shape"),
        (dense_graph(Stage.PRERANK, "probability_NT", 1), "outputs: found"),
        (GRAPH(1, metadata={"schema_fingerprint": "of another release"}), "schema_fingerprint: found of another"),
        (GRAPH(1, metadata={"features": '["position"]'}), "features: found"),
        (b"garbage", "cannot be loaded"),
    ],
)
def test_a_graph_that_does_not_fit_is_named_with_the_mismatch(tmp_path: Path, graph: bytes, complaint: str) -> None:
    with pytest.raises(ModelUnreadable, match=rf"(?s)prerank/model\.onnx.*{complaint}"):
        PrerankScorer.open(published(tmp_path, graph))


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownFile, match=r"prerank/model\.onnx"):
        PrerankScorer.open(publish(tmp_path))

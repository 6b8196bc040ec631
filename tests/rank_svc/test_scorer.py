from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bundles import layout
from bundles.bundle import Bundle
from bundles.errors import BundleCorrupt, UnknownFile
from features.assemble import assemble, candidate_view
from features.context import UserContexts, concatenate
from features.dense import FEATURES
from features.schema import Stage, of_stage
from rank_svc.scorer import RankScorer
from serving.errors import ModelUnreadable
from tests.rank_svc.published import TASKS, candidates, dense_graph, probabilities, publish, write_model
from tests.retrieval_svc.worlds import hand_made, likes, random_users, user

GRAPH = partial(dense_graph, Stage.RANK, "probability_NT")
ITEMS = hand_made()
UNIT = np.array([[1.0, 0.5, -2.0]])

media = st.lists(st.sampled_from([*ITEMS.media_id_M.tolist(), 999]), max_size=40)


def published(root: Path, graph: bytes) -> Bundle:
    return publish(root, fill=lambda staged: write_model(staged, Stage.RANK, graph))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> RankScorer:
    return RankScorer.open(published(tmp_path_factory.mktemp("bundles"), GRAPH(3)))


def expected(contexts: UserContexts, media_ids: list[int]) -> np.ndarray:
    row_N = ITEMS.rows(np.array(media_ids))
    view = candidate_view(contexts, ITEMS, row_N, np.zeros_like(row_N))
    return probabilities(assemble(view, of_stage(FEATURES, Stage.RANK)), 3)


def test_the_tasks_are_those_of_the_manifest(scorer: RankScorer) -> None:
    assert scorer.tasks == TASKS


def test_the_score_is_the_weighted_sum_of_the_models_probabilities(scorer: RankScorer) -> None:
    ann = user(history=likes(100, 301))
    scored = scorer.score(ann, candidates([100, 402]), UNIT)
    assert scored.probability_NT == pytest.approx(expected(ann, [100, 402]), abs=1e-5)
    assert scored.score_N == pytest.approx(expected(ann, [100, 402]) @ UNIT[0], abs=1e-5)


def test_every_user_is_valued_with_own_weights(scorer: RankScorer) -> None:
    both, weight_BT = concatenate([user(), user("bob")]), np.array([[1.0, 0, 0], [0, 0, -1.0]])
    scored = scorer.score(both, candidates([100], [100]), weight_BT)
    probability_NT = scored.probability_NT
    assert probability_NT is not None
    assert scored.score_N.tolist() == pytest.approx([probability_NT[0, 0], -probability_NT[1, 2]])


def test_media_that_the_table_does_not_know_are_unscored(scorer: RankScorer) -> None:
    scored = scorer.score(user(), candidates([999, 100, 1]), UNIT)
    assert np.isnan(scored.score_N).tolist() == [True, False, True]


def test_a_user_without_candidates_is_fine(scorer: RankScorer) -> None:
    both = concatenate([user(), user("bob")])
    assert scorer.score(both, candidates([], [100]), np.repeat(UNIT, 2, 0)).score_N.shape == (1,)
    assert scorer.score(both, candidates([], []), np.repeat(UNIT, 2, 0)).score_N.shape == (0,)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.lists(media, min_size=1, max_size=5))
def test_a_score_never_depends_on_the_rest_of_the_batch(scorer: RankScorer, seed: int, lists: list[list[int]]) -> None:
    contexts, _ = random_users(ITEMS, seed, len(lists))
    together = scorer.score(contexts, candidates(*lists), np.repeat(UNIT, len(lists), 0)).score_N
    apart = [
        scorer.score(contexts, candidates(*others), np.repeat(UNIT, len(lists), 0)).score_N
        for others in ([ids if b == user else [] for b, ids in enumerate(lists)] for user in range(len(lists)))
    ]
    assert together == pytest.approx(np.concatenate(apart), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize(
    ("graph", "complaint"),
    [
        (GRAPH(3, width=7), "width of dense_NF: found 7"),
        (GRAPH(2), "the tasks of the manifest need"),
        (dense_graph(Stage.RANK, "score_N", 3), "outputs: found"),
        (GRAPH(3, metadata={"schema_fingerprint": "of another release"}), "schema_fingerprint: found of another"),
        (GRAPH(3, metadata={"tasks": '["like", "click", "negative"]'}), "tasks: found"),
        (GRAPH(3, metadata={"features": '["position"]'}), "features: found"),
        (b"garbage", "cannot be loaded"),
    ],
)
def test_a_graph_that_does_not_fit_is_named_with_the_mismatch(tmp_path: Path, graph: bytes, complaint: str) -> None:
    with pytest.raises(ModelUnreadable, match=rf"(?s)rank/model\.onnx.*{complaint}"):
        RankScorer.open(published(tmp_path, graph))


def test_a_missing_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownFile, match=r"rank/model\.onnx"):
        RankScorer.open(publish(tmp_path))


def test_a_broken_item_table_is_named(tmp_path: Path) -> None:
    bundle = publish(
        tmp_path,
        fill=lambda staged: write_model(staged, Stage.RANK, GRAPH(3)),
        spoil=lambda staged: (staged / layout.ITEMS / "counts_MA.npy").write_bytes(b"garbage"),
    )
    with pytest.raises(BundleCorrupt, match=r"counts_MA\.npy"):
        RankScorer.open(bundle)

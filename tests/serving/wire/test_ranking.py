"""Rank messages: what a request may hold, and what a stage may answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse, ValueWeights
from serving.columns import Ranked
from serving.errors import InvalidArgument, StageContractViolation
from serving.wire import decode_rank_request, decode_rank_response, encode_rank_request, encode_rank_response
from tests.serving.batches import candidates, rank_request, user

NAN, INF = float("nan"), float("inf")
OFFSETS = np.array([0, 3, 5])  # two users with three candidates and two


def answer(**changes: Any) -> RankResponse:
    """Keeps rows 2 and 0 of the first user and row 4 of the second."""
    ranked = {
        "offsets": np.array([0, 2, 3]),
        "row_M": np.array([2, 0, 4]),
        "score_M": np.array([0.9, -0.1, 5.0], np.float32),
        "tasks": ("click", "negative"),
        "probability_MT": np.array([[0.9, 0.0], [0.1, 0.2], [1.0, 0.5]], np.float32),
        "bundle_version": "v1",
    }
    return encode_rank_response(Ranked(**{**ranked, **changes}))


def decode(response: RankResponse, bundle_version: str = "", with_features: bool = False) -> Ranked:
    return decode_rank_response(response, "rank", OFFSETS, [2, 2], bundle_version, with_features)


def test_request_round_trip() -> None:
    columns = candidates([[0.5], [NAN, 2.0]])
    weights = [{"click": 1.0, "negative": -5.0}, {}]
    request = encode_rank_request(
        [user("a"), user("b")],
        columns,
        weights=weights,
        keep=[1, 2**32 - 1],
        request_id="r",
        bundle_version="v",
        with_features=True,
    )
    batch = decode_rank_request(request)
    assert batch.with_features
    assert (batch.request_id, batch.bundle_version, batch.weights) == ("r", "v", tuple(weights))
    assert batch.keep_B.tolist() == [1, 2**32 - 1]
    assert batch.contexts.user_ids == ("a", "b")
    np.testing.assert_array_equal(batch.candidates.media_id_N, columns.media_id_N)


def test_empty_request_names_the_users() -> None:
    with pytest.raises(InvalidArgument, match=r"^users is empty"):
        decode_rank_request(RankRequest())


def test_user_without_candidates_is_fine() -> None:
    assert decode_rank_request(rank_request([[], [1.0]])).candidates.offsets.tolist() == [0, 0, 1]


@pytest.mark.parametrize("weight", [NAN, INF, -INF, 2e6, -1e300])
def test_weight_that_could_make_a_value_infinite_is_named(weight: float) -> None:
    request = rank_request([[1.0], [1.0]])
    request.weights[1].by_task["like"] = weight
    with pytest.raises(InvalidArgument, match=r"^weights\[1\]\.by_task\['like'\] is .*, must be a number between"):
        decode_rank_request(request)


def test_number_of_weights_must_fit() -> None:
    request = rank_request([[1.0], [1.0]])
    request.weights.append(ValueWeights())
    with pytest.raises(InvalidArgument, match=r"^weights has 3 entries, expected one for each of 2 users"):
        decode_rank_request(request)


@pytest.mark.parametrize(("keep", "message"), [([0], r"^keep\[0\] is 0, must be at least 1"), ([], "^keep has 0")])
def test_wrong_keep_is_refused(keep: list[int], message: str) -> None:
    request = rank_request([[1.0]])
    request.keep[:] = keep
    with pytest.raises(InvalidArgument, match=message):
        decode_rank_request(request)


def test_number_of_users_must_fit_the_candidates() -> None:
    request = rank_request([[1.0], [1.0]])
    del request.users[1]
    with pytest.raises(InvalidArgument, match=r"^candidates\.offsets has 3 entries, expected 2 for 1 users"):
        decode_rank_request(request)


def test_answer_round_trip() -> None:
    ranked = decode(answer(features_us=5, model_us=6, total_us=7), "v1")
    assert ranked.row_M.tolist() == [2, 0, 4]
    np.testing.assert_array_equal(ranked.score_M, np.array([0.9, -0.1, 5.0], np.float32))
    assert ranked.probability_MT.tolist() == [[np.float32(0.9), 0.0], [np.float32(0.1), np.float32(0.2)], [1.0, 0.5]]
    assert (ranked.features_us, ranked.model_us, ranked.total_us) == (5, 6, 7)


def test_answer_without_tasks_has_no_probabilities() -> None:
    ranked = decode(answer(tasks=(), probability_MT=np.empty((3, 0))))
    assert ranked.probability_MT.shape == (3, 0)


def test_answer_may_keep_nothing() -> None:
    empty = RankResponse(offsets=[0, 0, 0])
    assert decode(empty).row_M.tolist() == []


def test_features_round_trip_with_what_is_missing_as_nan() -> None:
    feature_MF = np.array([[NAN, 1.5], [-3e38, 0.0], [2.0, NAN]], np.float32)
    ranked = decode(answer(features_MF=feature_MF, feature_schema="f00d"), with_features=True)
    np.testing.assert_array_equal(ranked.features_MF, feature_MF)
    assert ranked.feature_schema == "f00d"


@pytest.mark.parametrize("with_features", [False, True])
def test_a_stage_that_reads_no_features_returns_none(with_features: bool) -> None:
    ranked = decode(answer(), with_features=with_features)
    assert (ranked.features_MF, ranked.feature_schema) == (None, "")


def test_no_candidates_have_no_features() -> None:
    ranked = decode(RankResponse(offsets=[0, 0, 0], feature_schema="f00d"), with_features=True)
    assert ranked.features_MF is not None
    assert ranked.features_MF.shape == (0, 0)


@pytest.mark.parametrize(
    ("features", "schema", "message"),
    [
        (b"\0" * 24, "", "feature_schema is empty, but there are features"),
        (b"", "f00d", "features has 0 values, which are no whole features of 3 candidates"),
        (b"\0" * 28, "f00d", "features has 7 values, which are no whole features of 3 candidates"),
        (b"\0" * 25, "f00d", "features has 25 bytes, which is not a multiple of 4"),
        (np.array([0, 0, 0, INF, 0, 0], "<f4").tobytes(), "f00d", r"features\[1\] is infinite; a missing value is NaN"),
    ],
)
def test_features_that_cannot_be_are_refused(features: bytes, schema: str, message: str) -> None:
    response = answer()
    response.features, response.feature_schema = features, schema
    with pytest.raises(StageContractViolation, match=f"^rank broke its contract: {message}"):
        decode(response, with_features=True)


def test_features_without_candidates_are_refused() -> None:
    with pytest.raises(
        StageContractViolation, match="features has 1 values, which are no whole features of 0 candidates"
    ):
        decode(RankResponse(offsets=[0, 0, 0], features=b"\0" * 4, feature_schema="f00d"), with_features=True)


def test_features_that_nobody_asked_for_are_refused() -> None:
    with pytest.raises(StageContractViolation, match="feature_schema is set, but no features were asked for"):
        decode(answer(features_MF=np.zeros((3, 1), np.float32), feature_schema="f00d"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offsets": np.array([0, 3])}, "offsets has 2 entries"),
        ({"offsets": np.array([0, 3, 3])}, r"offsets: kept\[0\] is 3, must be at most what was asked for"),
        ({"offsets": np.array([0, 2, 2])}, "task_probability has 24 bytes"),
        ({"row_M": np.array([2, 3, 4])}, r"row\[1\] is 3, must be a row of the same user"),
        ({"row_M": np.array([2, 0, 5])}, r"row\[2\] is 5, must be a row of the same user"),
        ({"row_M": np.array([2, 2, 4])}, "row repeats a candidate"),
        ({"row_M": np.array([2, 0])}, "row has 8 bytes"),
        ({"score_M": np.array([0.9, NAN, 1])}, r"score\[1\] is nan, must be finite"),
        ({"score_M": np.array([INF, 0, 1])}, r"score\[0\] is inf, must be finite"),
        ({"score_M": np.array([0.1, 0.2, 1])}, r"score\[1\] is 0\.2\d*, must be at most the score of the row above"),
        ({"probability_MT": np.full((3, 2), 1.5)}, r"task_probability\[0\] is 1\.5, must be in \[0, 1\]"),
        ({"probability_MT": np.full((3, 2), -0.5)}, r"task_probability\[0\] is -0\.5"),
        ({"probability_MT": np.full((3, 2), NAN)}, r"task_probability\[0\] is nan"),
        ({"tasks": ("click", "click")}, "tasks repeats a name"),
    ],
)
def test_answer_that_breaks_the_contract_names_stage_and_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StageContractViolation, match=f"^rank broke its contract: {message}"):
        decode(answer(**changes))


def test_answer_from_another_bundle_is_refused() -> None:
    with pytest.raises(StageContractViolation, match="bundle_version is 'v1', 'v2' was asked for"):
        decode(answer(), "v2")

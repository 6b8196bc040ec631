"""Rank messages <-> columns. Shapes: B users, M kept candidates, T tasks, F dense features of the stage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from protos.explore.v1.ranking_pb2 import RankRequest, RankResponse, RankTiming, ValueWeights
from protos.explore.v1.user_context_pb2 import UserContext
from serving.columns import CandidateColumns, Float32, Int64, RankBatch, Ranked
from serving.errors import InvalidArgument
from serving.wire.candidates import decode_candidates, encode_candidates
from serving.wire.columns import (
    FLOAT32,
    UINT32,
    answer_of,
    check_length,
    check_rows,
    column,
    count_rows,
    decode_offsets,
    highest,
    lowest,
    positive_B,
    to_bytes,
)
from serving.wire.contexts import decode_contexts

MAX_WEIGHT = 1e6  # keeps every value finite in float32


@dataclass(frozen=True)
class RankAsk:
    """What a ranking stage is asked: users, weights and keep have one entry per user of `candidates`."""

    users: Sequence[UserContext]
    candidates: CandidateColumns
    weights: Sequence[Mapping[str, float]]
    keep: Sequence[int]
    request_id: str = ""
    bundle_version: str = ""
    with_features: bool = False

    def message(self) -> RankRequest:
        """As it goes over the wire."""
        return encode_rank_request(
            self.users,
            self.candidates,
            weights=self.weights,
            keep=self.keep,
            request_id=self.request_id,
            bundle_version=self.bundle_version,
            with_features=self.with_features,
        )

    def answer(self, response: RankResponse, stage: str) -> Ranked:
        """What the stage answered, checked. Raises StageContractViolation as `decode_rank_response` does."""
        return decode_rank_response(
            response, stage, self.candidates.offsets, self.keep, self.bundle_version, self.with_features
        )


def encode_rank_request(
    users: Iterable[UserContext],
    candidates: CandidateColumns,
    *,
    weights: Sequence[Mapping[str, float]],
    keep: Sequence[int],
    request_id: str = "",
    bundle_version: str = "",
    with_features: bool = False,
) -> RankRequest:
    """The caller's side: users, weights and keep have one entry per user of `candidates`."""
    return RankRequest(
        request_id=request_id,
        users=users,
        candidates=encode_candidates(candidates, with_paths=False),
        weights=[ValueWeights(by_task=table) for table in weights],
        keep=keep,
        bundle_version=bundle_version,
        with_features=with_features,
    )


def decode_rank_request(request: RankRequest) -> RankBatch:
    """The request as columns. Raises InvalidArgument with the path of the first field that is wrong."""
    contexts = decode_contexts(request.users)
    users = len(contexts)
    candidates = decode_candidates(request.candidates, users)
    check_length(request.weights, users, "weights")
    weights = tuple(dict(table.by_task) for table in request.weights)
    for b, table in enumerate(weights):
        for task, weight in table.items():
            if not abs(weight) <= MAX_WEIGHT:
                limit = f"is {weight}, must be a number between -{MAX_WEIGHT:g} and {MAX_WEIGHT:g}"
                raise InvalidArgument(f"weights[{b}].by_task[{task!r}]", limit)
    keep_B = positive_B(request.keep, users, "keep")
    version, with_features = request.bundle_version, request.with_features
    return RankBatch(request.request_id, contexts, candidates, weights, keep_B, version, with_features)


def encode_rank_response(ranked: Ranked) -> RankResponse:
    """The stage's side."""
    timing = RankTiming(features_us=ranked.features_us, model_us=ranked.model_us, total_us=ranked.total_us)
    return RankResponse(
        offsets=ranked.offsets.tolist(),
        row=to_bytes(ranked.row_M, UINT32),
        score=to_bytes(ranked.score_M, FLOAT32),
        tasks=ranked.tasks,
        task_probability=to_bytes(ranked.probability_MT, FLOAT32),
        bundle_version=ranked.bundle_version,
        timing=timing,
        features=b"" if ranked.features_MF is None else to_bytes(ranked.features_MF, FLOAT32),
        feature_schema=ranked.feature_schema,
    )


def decode_rank_response(
    response: RankResponse,
    stage: str,
    offsets: Int64,
    keep: Sequence[int],
    bundle_version: str = "",
    with_features: bool = False,
) -> Ranked:
    """The answer to a request whose candidates had `offsets` and which asked for `keep` per user, and for features or not.

    Raises StageContractViolation, naming the stage and the field, unless it can be an answer to that request.
    """
    with answer_of(stage):
        ranked = _decode_columns(response, len(offsets) - 1)
        _check_rows_belong(ranked, offsets, np.asarray(keep, np.int64))
        _check_scores(ranked)
        if bundle_version and ranked.bundle_version != bundle_version:
            raise InvalidArgument("bundle_version", f"is {ranked.bundle_version!r}, {bundle_version!r} was asked for")
        if ranked.feature_schema and not with_features:
            raise InvalidArgument("feature_schema", "is set, but no features were asked for")
    return ranked


def _decode_columns(response: RankResponse, users: int) -> Ranked:
    offsets = decode_offsets(response.offsets, users, "offsets")
    rows, tasks = int(offsets[-1]), tuple(response.tasks)
    if len(set(tasks)) != len(tasks):
        raise InvalidArgument("tasks", f"repeats a name: {', '.join(tasks)}")
    probability = column(response.task_probability, FLOAT32, rows * len(tasks), "task_probability")
    return Ranked(
        offsets=offsets,
        row_M=column(response.row, UINT32, rows, "row").astype(np.int64),
        score_M=column(response.score, FLOAT32, rows, "score"),
        tasks=tasks,
        probability_MT=probability.reshape(rows, len(tasks)),
        bundle_version=response.bundle_version,
        features_us=response.timing.features_us,
        model_us=response.timing.model_us,
        total_us=response.timing.total_us,
        features_MF=_decode_features(response, rows),
        feature_schema=response.feature_schema,
    )


def _decode_features(response: RankResponse, rows: int) -> Float32 | None:
    """[M, F]; the width is what the bytes give, and the same for every row. None for a stage that reads no features."""
    if not response.feature_schema:
        if response.features:
            raise InvalidArgument("feature_schema", "is empty, but there are features")
        return None
    values = count_rows(response.features, FLOAT32, "features")
    width, rest = divmod(values, rows) if rows else (0, values)
    if rest or (rows and not width):
        raise InvalidArgument("features", f"has {values} values, which are no whole features of {rows} candidates")
    feature_MF = column(response.features, FLOAT32, values, "features").reshape(rows, width)
    row_M = np.isinf(feature_MF).any(axis=1)
    if row_M.any():
        raise InvalidArgument(f"features[{int(np.argmax(row_M))}]", "is infinite; a missing value is NaN")
    return feature_MF


def _check_rows_belong(ranked: Ranked, offsets: Int64, keep_B: Int64) -> None:
    kept_B = ranked.offsets[1:] - ranked.offsets[:-1]
    check_rows(kept_B <= keep_B, kept_B, "offsets: kept", "at most what was asked for")
    own_M = (ranked.row_M >= offsets[:-1].repeat(kept_B)) & (ranked.row_M < offsets[1:].repeat(kept_B))
    check_rows(own_M, ranked.row_M, "row", "a row of the same user in the request")
    if len(ranked.row_M) and highest(np.bincount(ranked.row_M)) > 1:  # rows of the request: as short as it is
        raise InvalidArgument("row", "repeats a candidate")


def _check_scores(ranked: Ranked) -> None:
    check_rows(np.isfinite(ranked.score_M), ranked.score_M, "score", "finite")
    in_order_M = np.ones(len(ranked.score_M), np.bool_)
    in_order_M[1:] = ranked.score_M[1:] <= ranked.score_M[:-1]
    in_order_M[ranked.offsets[:-1][np.diff(ranked.offsets) > 0]] = True  # the best of a user follows nothing
    check_rows(in_order_M, ranked.score_M, "score", "at most the score of the row above: best first")
    probability = ranked.probability_MT.reshape(-1)
    if len(probability) and lowest(probability) >= 0 and highest(probability) <= 1:
        return
    check_rows((probability >= 0) & (probability <= 1), probability, "task_probability", "in [0, 1]")

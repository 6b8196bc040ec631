"""From scores to the kept candidates of each user. Shapes: B users, N candidates, M kept, T tasks, F features."""

from __future__ import annotations

import numpy as np

from features.dense import FINGERPRINT
from serving.columns import Float32, Int64, RankBatch, Ranked
from serving.errors import StageContractViolation
from serving.scorer import Scored


def top_rows(score_N: Float32, offsets: Int64, keep_B: Int64) -> tuple[Int64, Int64]:
    """Rows and offsets of the best `keep_B[b]` of each user: by falling score, equal scores in row order, NaN dropped."""
    rows, kept = [np.empty(0, np.int64)], [0]
    for start, end, keep in zip(offsets[:-1].tolist(), offsets[1:].tolist(), keep_B.tolist(), strict=True):
        own_N = score_N[start:end]
        scored = len(own_N) - int(np.count_nonzero(np.isnan(own_N)))
        rows.append(start + np.argsort(-own_N, kind="stable")[: min(keep, scored)])  # NaN comes last
        kept.append(kept[-1] + len(rows[-1]))
    return np.concatenate(rows), np.array(kept, np.int64)


def select(stage: str, scored: Scored, tasks: tuple[str, ...], batch: RankBatch, version: str) -> Ranked:
    """The answer of a stage, without its total time. Raises StageContractViolation if the scorer broke its contract."""
    _check(stage, scored, tasks, len(batch.candidates))
    row_M, kept_offsets = top_rows(scored.score_N, batch.candidates.offsets, batch.keep_B)
    probability_NT = scored.probability_NT
    probability_MT = np.empty((len(row_M), 0), np.float32) if probability_NT is None else probability_NT[row_M]
    if probability_MT.size and not (probability_MT.min() >= 0 and probability_MT.max() <= 1):  # NaN is in no range
        raise StageContractViolation(stage, "task_probability", "of a scored candidate is not in [0, 1]")
    dense_NF = scored.dense_NF if batch.with_features else None
    return Ranked(
        offsets=kept_offsets,
        row_M=row_M,
        score_M=scored.score_N[row_M],
        tasks=tasks,
        probability_MT=probability_MT,
        bundle_version=version,
        features_us=scored.features_us,
        model_us=scored.model_us,
        features_MF=None if dense_NF is None else dense_NF[row_M],
        feature_schema="" if dense_NF is None else FINGERPRINT,
    )


def _check(stage: str, scored: Scored, tasks: tuple[str, ...], rows: int) -> None:
    if scored.score_N.shape != (rows,):
        raise StageContractViolation(stage, "score", f"has shape {scored.score_N.shape}, expected ({rows},)")
    if scored.score_N.dtype != np.float32:  # a larger number could turn infinite on the wire
        raise StageContractViolation(stage, "score", f"is {scored.score_N.dtype}, expected float32")
    if np.isinf(scored.score_N).any():
        raise StageContractViolation(stage, "score", "is infinite; NaN says that a candidate cannot be scored")
    shape = (rows, 0) if scored.probability_NT is None else scored.probability_NT.shape
    if shape != (rows, len(tasks)):
        raise StageContractViolation(stage, "task_probability", f"has shape {shape}, expected {(rows, len(tasks))}")
    if scored.dense_NF is not None and (scored.dense_NF.ndim != 2 or len(scored.dense_NF) != rows):
        raise StageContractViolation(stage, "features", f"has shape {scored.dense_NF.shape}, expected {rows} rows")

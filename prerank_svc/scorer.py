"""Scores candidates with the distilled student. Knows a bundle; knows no messages and no gRPC. Shapes as in `serving/scorer.py`."""

from __future__ import annotations

from bundles.bundle import Bundle
from features.context import UserContexts
from features.schema import Stage
from serving.columns import CandidateColumns
from serving.items import open_items
from serving.scorer import Scored, Weights
from serving.stage_model import GraphContract, StageModel

CONTRACT = GraphContract(Stage.PRERANK, output="score_N")


class PrerankScorer:
    """The score is the student's own: it stands for where the whole funnel would put a candidate, so it needs no value weights."""

    tasks: tuple[str, ...] = ()

    def __init__(self, model: StageModel) -> None:
        self._model = model

    @classmethod
    def open(cls, bundle: Bundle, threads: int = 1) -> PrerankScorer:
        """The scorer of a verified bundle, warmed up. Raises BundleError or ModelUnreadable, naming file and mismatch."""
        return cls(StageModel.open(bundle, CONTRACT, threads, open_items(bundle)))

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        """The student's score of every candidate, NaN for media that the item table does not know. `weight_BT` is not read."""
        found = self._model.predict(contexts, candidates)
        return Scored(found.output_NX, None, found.features_us, found.model_us, found.dense_NF)

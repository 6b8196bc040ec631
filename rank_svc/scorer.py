"""Scores candidates with the light network. Knows a bundle; knows neither messages nor gRPC. Shapes as in `serving/scorer.py`."""

from __future__ import annotations

from bundles.bundle import Bundle
from features.context import UserContexts
from features.schema import Stage
from serving.columns import CandidateColumns
from serving.items import open_items
from serving.scorer import Scored, Weights, expected_value_N
from serving.stage_model import GraphContract, StageModel

OUTPUT = "probability_NT"


class RankScorer:
    """The score is the expected value: the sum over tasks of the arm's weight x P(task)."""

    def __init__(self, model: StageModel, tasks: tuple[str, ...]) -> None:
        self._model, self.tasks = model, tasks

    @classmethod
    def open(cls, bundle: Bundle, threads: int = 1) -> RankScorer:
        """The scorer of a verified bundle, warmed up. Raises BundleError or ModelUnreadable, naming file and mismatch."""
        tasks = bundle.manifest.tasks
        contract = GraphContract(Stage.RANK, OUTPUT, tasks)
        return cls(StageModel.open(bundle, contract, threads, open_items(bundle)), tasks)

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        """Value and task probabilities of every candidate, NaN for media that the item table does not know."""
        found = self._model.predict(contexts, candidates)
        score_N = expected_value_N(found.output_NX, weight_BT, candidates.offsets)
        return Scored(score_N, found.output_NX, found.features_us, found.model_us, found.dense_NF)

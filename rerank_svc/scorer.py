"""Scores candidates with the deep network. Knows a bundle; knows neither messages nor gRPC. Shapes as in `serving/scorer.py`."""

from __future__ import annotations

from bundles import layout
from bundles.bundle import Bundle
from bundles.errors import BundleCorrupt
from features.context import UserContexts
from features.embeddings import ItemEmbeddings, sparse_input
from features.item_table import ItemTable
from features.schema import Stage
from features.view import View
from serving.columns import CandidateColumns
from serving.items import open_items
from serving.scorer import Scored, Weights, expected_value_N
from serving.stage_model import Feed, GraphContract, StageModel

OUTPUT = "probability_NT"


class RerankScorer:
    """The score is the expected value: the sum over tasks of the arm's weight x P(task)."""

    def __init__(self, model: StageModel, tasks: tuple[str, ...]) -> None:
        self._model, self.tasks = model, tasks

    @classmethod
    def open(cls, bundle: Bundle, threads: int = 1) -> RerankScorer:
        """The scorer of a verified bundle, warmed up. Raises BundleError or ModelUnreadable, naming file and mismatch."""
        tasks, items = bundle.manifest.tasks, open_items(bundle)
        embeddings = _open_embeddings(bundle, items)
        contract = GraphContract(Stage.RERANK, OUTPUT, tasks, _widths(embeddings))

        def sequences(view: View) -> Feed:
            sparse = sparse_input(view, embeddings)
            return {
                "item_NK": sparse.item_NK,
                "history_BLK": sparse.history_BLK,
                "history_action_BL": sparse.history_action_BL,
                "history_age_BL": sparse.history_age_BL,
                "user_N": view.user_N,
                "related_NSK": sparse.related_NSK,
                "related_action_NS": sparse.related_action_NS,
                "related_age_NS": sparse.related_age_NS,
            }

        return cls(StageModel.open(bundle, contract, threads, items, sequences), tasks)

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: Weights) -> Scored:
        """Value and task probabilities of every candidate, NaN for media that the item table does not know."""
        found = self._model.predict(contexts, candidates)
        score_N = expected_value_N(found.output_NX, weight_BT, candidates.offsets)
        return Scored(score_N, found.output_NX, found.features_us, found.model_us, found.dense_NF)


def _open_embeddings(bundle: Bundle, items: ItemTable) -> ItemEmbeddings:
    directory = layout.RERANK_EMBEDDINGS
    try:
        embeddings = ItemEmbeddings.open(bundle.folder(directory))
    except (OSError, ValueError) as error:
        raise BundleCorrupt(bundle.version, directory, f"cannot be read: {error}") from error
    for name, table, rows in (
        ("media", embeddings.media_MK, len(items.media_id_M)),
        ("account", embeddings.account_UK, len(items.account_id_U)),
        ("topic", embeddings.topic_TK, len(items.topics)),
    ):
        if table.ndim != 2 or len(table) != rows:
            problem = f"has shape {table.shape}, expected {rows} rows, as the item table"
            raise BundleCorrupt(bundle.version, f"{directory}/{name}.npy", problem)
    return embeddings


def _widths(embeddings: ItemEmbeddings) -> dict[str, int | None]:
    width = sum(table.shape[1] for table in (embeddings.media_MK, embeddings.account_UK, embeddings.topic_TK))
    embedded = ("item_NK", "history_BLK", "related_NSK")
    plain = ("history_action_BL", "history_age_BL", "user_N", "related_action_NS", "related_age_NS")
    return {**dict.fromkeys(embedded, width), **dict.fromkeys(plain)}

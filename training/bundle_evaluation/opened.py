"""What a published bundle holds, opened for judging: graphs, item table and embedding tables. Knows files, no logs.

Shapes: N candidates, T tasks, M media and U accounts of the log that is judged on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bundles import layout
from bundles.bundle import Bundle
from bundles.errors import BundleCorrupt, SchemaMismatch
from features.dense import FINGERPRINT
from features.embeddings import ItemEmbeddings
from features.item_table import ItemTable
from features.schema import Stage
from training.event_log import EventLog
from training.models.graph_inputs import Inputs
from training.snapshots import ItemVectors

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class OpenedBundle:
    """A bundle with its models ready to run. `items` and `embeddings` number media and accounts in the bundle's own way."""

    bundle: Bundle
    items: ItemTable
    embeddings: ItemEmbeddings
    sessions: dict[Stage, Any]

    @classmethod
    def open(cls, bundle: Bundle) -> OpenedBundle:
        """Opens a verified bundle. Raises SchemaMismatch for other features than this release's, BundleCorrupt naming the file."""
        found = bundle.manifest.schema_fingerprint
        if found != FINGERPRINT:
            raise SchemaMismatch(bundle.version, found, FINGERPRINT)
        return cls(
            bundle,
            _readable(bundle, layout.ITEMS, ItemTable.open),
            _readable(bundle, layout.RERANK_EMBEDDINGS, ItemEmbeddings.open),
            {stage: _readable(bundle, layout.model(stage), _session) for stage in Stage},
        )

    @property
    def version(self) -> str:
        return self.bundle.version

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the rankers predict, in the order of their outputs."""
        return self.bundle.manifest.tasks

    def run(self, stage: Stage, batches: Iterable[Inputs]) -> Float32:
        """What the stage's graph says of all candidates: probabilities [N, T], or the scores [N] of prerank.

        Raises BundleCorrupt for a graph that asks for an input that nobody here computes.
        """
        session = self.sessions[stage]
        asked = [node.name for node in session.get_inputs()]
        parts: list[Float32] = []
        for batch in batches:
            unknown = sorted(set(asked) - set(batch))
            if unknown:
                problem = f"asks for inputs that this release does not compute: {', '.join(unknown)}"
                raise BundleCorrupt(self.version, layout.model(stage), problem)
            parts.append(session.run(None, {name: batch[name] for name in asked})[0])
        width = () if stage is Stage.PRERANK else (len(self.tasks),)
        return np.concatenate([np.zeros((0, *width), dtype=np.float32), *parts])

    def vectors(self, log: EventLog) -> ItemVectors:
        """The bundle's embeddings in the rows of a log; zero, which says "unknown", for what the bundle has never seen."""
        return ItemVectors(
            _rows_of(self.items.media_vector_MD, self.items.rows(log.media_id_M)),
            _rows_of(self.items.account_vector_UE, self.items.account_rows(log.account_id_U)),
        )

    def tables(self, items: ItemTable) -> ItemEmbeddings:
        """The deep ranker's tables in the rows and topics of another item table; what it has never seen reads as unknown."""
        place = {name: number for number, name in enumerate(self.items.topics)}
        topic_T = np.array([place.get(name, -1) for name in items.topics], dtype=np.int64)
        tables, unknown_K = self.embeddings, self.embeddings.unknown_K
        after_media = tables.media_MK.shape[1]
        after_account = after_media + tables.account_UK.shape[1]
        return ItemEmbeddings(
            _rows_of(tables.media_MK, self.items.rows(items.media_id_M), unknown_K[:after_media]),
            _rows_of(
                tables.account_UK, self.items.account_rows(items.account_id_U), unknown_K[after_media:after_account]
            ),
            _rows_of(tables.topic_TK, topic_T, unknown_K[after_account:]),
            unknown_K,
        )


def _rows_of(table: Float32, row_X: Int64, unknown: Float32 | float = 0.0) -> Float32:
    """Rows of a table, `unknown` for row -1."""
    found = np.empty((len(row_X), table.shape[1]), dtype=np.float32)
    known_X = row_X >= 0
    found[known_X], found[~known_X] = table[row_X[known_X]], unknown
    return found


def _readable(bundle: Bundle, relative: str, opened: Any) -> Any:
    try:
        return opened(bundle.path / relative)
    except (OSError, ValueError, KeyError) as error:
        raise BundleCorrupt(bundle.version, relative, f"cannot be read: {error}") from error


def _session(path: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors; they also arrive as exceptions
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base class
        raise ValueError(str(error).splitlines()[0]) from error

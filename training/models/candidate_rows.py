"""Candidates grouped by request, as the tensors that the networks take. Training, evaluation and the teacher all batch here.

Shapes: N candidates, B requests, R requests of one batch, F features, L history slots, S related slots,
K item embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from features.counters import HOUR_MS
from features.dense import FEATURES
from features.schema import Stage, of_stage
from training.columns import Scratch
from training.models.id_embeddings import IdEmbeddings

Int64 = NDArray[np.int64]

_SCORING_ROWS = 2_048  # attention over histories takes some 20 kB per row


class CandidateRows(Protocol):
    """What `RankingSet` and `Slates` have in common. Columns of `dense_NF` are those of `features.dense.FEATURES`."""

    @property
    def dense_NF(self) -> NDArray[np.float32]: ...

    @property
    def row_N(self) -> Int64: ...

    @property
    def request_N(self) -> Int64: ...

    @property
    def history_row_BL(self) -> NDArray[np.int32]: ...

    @property
    def history_action_BL(self) -> NDArray[np.uint8]: ...

    @property
    def history_age_ms_BL(self) -> Int64: ...

    @property
    def related_row_NS(self) -> NDArray[np.int32]: ...

    @property
    def related_action_NS(self) -> NDArray[np.uint8]: ...

    @property
    def related_age_hours_NS(self) -> NDArray[np.float32]: ...

    @property
    def scratch(self) -> Scratch: ...


def stage_columns(stage: Stage) -> list[int]:
    """Columns of `dense_NF` that `stage` consumes, in the order of its model input."""
    return [FEATURES.index(feature) for feature in of_stage(FEATURES, stage)]


class Batcher:
    """Cuts batches of whole requests out of candidate rows. Shares the memory of the arrays it is given."""

    def __init__(self, rows: CandidateRows, stage: Stage) -> None:
        self.columns = torch.tensor(stage_columns(stage))
        self.offsets = np.searchsorted(rows.request_N, np.arange(len(rows.history_row_BL) + 1)).astype(np.int64)
        self.dense_NF = torch.from_numpy(rows.dense_NF)
        self.row_N = torch.from_numpy(rows.row_N)
        self.rows = rows

    def candidates_of(self, request_R: Int64) -> tuple[Tensor, Tensor]:
        """Candidate numbers of the requests, and for each its place in `request_R`."""
        start_R = self.offsets[request_R]
        count_R = self.offsets[request_R + 1] - start_R
        place_N = np.repeat(np.arange(len(request_R)), count_R)
        first_N = np.repeat(np.cumsum(count_R) - count_R, count_R)
        candidate_N = start_R[place_N] + np.arange(len(place_N)) - first_N
        return torch.from_numpy(candidate_N), torch.from_numpy(place_N)

    def dense(self, candidate_N: Tensor) -> Tensor:
        """The stage's raw features [N, F]."""
        return self.dense_NF.index_select(0, candidate_N).index_select(1, self.columns)

    def deep_inputs(self, request_R: Int64, embeddings: IdEmbeddings) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Candidate numbers, and the inputs of `DeepRanker` for them. Slots that are empty in every request are left out."""
        candidate_N, place_N = self.candidates_of(request_R)
        action_RL = self.rows.history_action_BL[request_R].astype(np.int64)
        used = _longest(action_RL)
        row_RL = self.rows.history_row_BL[request_R, -used:].astype(np.int64)
        age_RL = np.log1p(self.rows.history_age_ms_BL[request_R, -used:] / HOUR_MS).astype(np.float32)
        return candidate_N, (
            self.dense(candidate_N),
            embeddings.candidates(self.row_N[candidate_N]),
            embeddings(torch.from_numpy(row_RL)),
            torch.from_numpy(action_RL[:, -used:]),
            torch.from_numpy(age_RL),
            place_N,
            *self._related(candidate_N.numpy(), embeddings),
        )

    def _related(self, candidate_N: Int64, embeddings: IdEmbeddings) -> tuple[Tensor, Tensor, Tensor]:
        action_NS = self.rows.related_action_NS[candidate_N].astype(np.int64)
        used = _longest(action_NS)
        row_NS = self.rows.related_row_NS[candidate_N, -used:].astype(np.int64)
        age_NS = np.log1p(self.rows.related_age_hours_NS[candidate_N, -used:])
        return embeddings(torch.from_numpy(row_NS)), torch.from_numpy(action_NS[:, -used:]), torch.from_numpy(age_NS)

    def outputs(self, model: Callable[[Int64], Tensor], width: int) -> NDArray[np.float32]:
        """What `model` says of the candidates of every request, [N, `width`]; it is called from several threads."""
        output_NT: NDArray[np.float32] = self.rows.scratch.empty((int(self.offsets[-1]), width), np.float32)

        def fill(request_R: Int64) -> None:
            of = slice(self.offsets[request_R[0]], self.offsets[request_R[-1] + 1])
            with torch.inference_mode():  # of one thread
                output_NT[of] = model(request_R).numpy()

        # Batches side by side keep all cores busy; threads inside a batch wait for each other after every small operation.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for _ in pool.map(fill, self.all_requests()):
                pass
        return output_NT

    def all_requests(self, rows: int = _SCORING_ROWS) -> Iterator[Int64]:
        """Every request once, in order, in batches of about `rows` candidates."""
        requests = len(self.offsets) - 1
        per_batch = max(1, requests * rows // max(int(self.offsets[-1]), 1))
        for start in range(0, requests, per_batch):
            yield np.arange(start, min(start + per_batch, requests), dtype=np.int64)


def _longest(action_RL: Int64) -> int:
    """Slots from the oldest action of any request to the newest; at least 1, so that no axis is empty."""
    filled_RL = action_RL > 0
    if not filled_RL.any():
        return 1
    return action_RL.shape[1] - int(np.argmax(filled_RL.any(axis=0)))

"""Embedding tables: training and serving gather the same vectors, and unknown means zero in both."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.models.worlds import N_MEDIA, item_table
from training.models.id_embeddings import EmbeddingConfig, IdEmbeddings

CONFIG = EmbeddingConfig(min_occurrences=2)


def embeddings(*rows: int) -> IdEmbeddings:
    return IdEmbeddings(item_table(), np.array(rows), CONFIG)


def test_exported_tables_gather_what_training_gathers() -> None:
    trained = embeddings(*np.random.default_rng(0).integers(0, N_MEDIA, 500)).eval()
    row_XY = np.random.default_rng(1).integers(-1, N_MEDIA, (20, 7))
    exported = trained.tables().gather(item_table(), row_XY)
    assert np.array_equal(trained(torch.from_numpy(row_XY)).detach().numpy(), exported)


def test_media_below_the_admission_count_are_zero() -> None:
    media_MK = embeddings(3, 3, 5, -1, -1).tables().media_MK
    assert np.flatnonzero(media_MK.any(axis=1)).tolist() == [3]


def test_unknown_rows_are_zero() -> None:
    assert not embeddings(3, 3)(torch.tensor([-1, -1])).any()


def test_admitted_authors_speak_for_their_new_media() -> None:
    author_M = item_table().author_row_M
    old, new = np.flatnonzero(author_M == author_M[0])[:2]
    account_K = slice(CONFIG.media_width, CONFIG.media_width + CONFIG.account_width)
    vector_XK = embeddings(old, old)(torch.tensor([old, new])).detach()
    assert torch.equal(vector_XK[0, account_K], vector_XK[1, account_K])
    assert vector_XK[1, account_K].any()
    assert not vector_XK[1, : CONFIG.media_width].any()


def test_rows_that_were_not_admitted_stay_zero_under_training() -> None:
    trained = embeddings(3, 3).train()
    optimiser = torch.optim.SparseAdam(list(trained.parameters()), lr=1.0)
    (1 - trained.candidates(torch.tensor([3, 7, -1]))).square().sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()  # type: ignore[no-untyped-call]
    assert np.flatnonzero(trained.tables().media_MK.any(axis=1)).tolist() == [3]


@pytest.mark.parametrize("training", [True, False])
def test_media_vectors_are_hidden_in_training_only(training: bool) -> None:
    trained = embeddings(3, 3).train(training)
    seen_N = trained.candidates(torch.full((500,), 3))[:, : CONFIG.media_width].any(dim=1)
    assert (seen_N.sum() < 500) == training

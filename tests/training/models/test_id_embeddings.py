"""Embedding tables: training and serving gather the same vectors, and unknown items share one in both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.models.worlds import N_MEDIA, item_table
from training.models.id_embeddings import EmbeddingConfig, IdEmbeddings, occurrences

CONFIG = EmbeddingConfig(min_occurrences=2, trained_unknown=True)
ZEROS = replace(CONFIG, trained_unknown=False)


def embeddings(*rows: int, config: EmbeddingConfig = CONFIG) -> IdEmbeddings:
    return IdEmbeddings(item_table(), occurrences(N_MEDIA, np.array(rows)), config)


def after_a_step(*rows: int, config: EmbeddingConfig) -> IdEmbeddings:
    """Trained for one step on an admitted row, one that was not admitted, and an unknown one."""
    trained = embeddings(*rows, config=config).train()
    optimiser = torch.optim.SparseAdam(list(trained.parameters()), lr=1.0)
    (1 - trained.candidates(torch.tensor([3, 7, -1]))).square().sum().backward()  # type: ignore[no-untyped-call]
    optimiser.step()  # type: ignore[no-untyped-call]
    return trained.eval()


@pytest.mark.parametrize("config", [CONFIG, ZEROS], ids=["trained", "zeros"])
def test_exported_tables_gather_what_training_gathers(config: EmbeddingConfig) -> None:
    trained = after_a_step(*np.random.default_rng(0).integers(0, N_MEDIA, 500), config=config)
    row_XY = np.random.default_rng(1).integers(-1, N_MEDIA, (20, 7))
    exported = trained.tables().gather(item_table(), row_XY)
    assert np.array_equal(trained(torch.from_numpy(row_XY)).detach().numpy(), exported)


def test_before_training_media_below_the_admission_count_are_zero() -> None:
    media_MK = embeddings(3, 3, 5, -1, -1).tables().media_MK
    assert np.flatnonzero(media_MK.any(axis=1)).tolist() == [3]


def test_ids_without_a_vector_share_a_trained_one() -> None:
    tables = after_a_step(3, 3, config=CONFIG).tables()
    media_K = tables.unknown_K[: CONFIG.media_width]
    assert media_K.all()
    shared_M = (tables.media_MK == media_K).all(axis=1)
    assert np.flatnonzero(~shared_M).tolist() == [3]
    assert np.array_equal(tables.gather(item_table(), np.array([-1]))[0], tables.unknown_K)


def test_with_zeros_ids_without_a_vector_stay_zero_under_training() -> None:
    tables = after_a_step(3, 3, config=ZEROS).tables()
    assert np.flatnonzero(tables.media_MK.any(axis=1)).tolist() == [3]
    assert not tables.unknown_K.any()


def test_an_item_without_topic_reads_the_unknown_topic() -> None:
    trained, no_topic = after_a_step(3, 3, config=CONFIG), np.flatnonzero(item_table().topic_M < 0)[:1]
    topic_K = trained(torch.from_numpy(no_topic))[0, -CONFIG.topic_width :].detach().numpy()
    assert np.array_equal(topic_K, trained.tables().unknown_K[-CONFIG.topic_width :])
    assert topic_K.all()


def test_admitted_authors_speak_for_their_new_media() -> None:
    author_M = item_table().author_row_M
    old, new = np.flatnonzero(author_M == author_M[0])[:2]
    account_K = slice(CONFIG.media_width, CONFIG.media_width + CONFIG.account_width)
    vector_XK = embeddings(old, old)(torch.tensor([old, new])).detach()
    assert torch.equal(vector_XK[0, account_K], vector_XK[1, account_K])
    assert vector_XK[1, account_K].any()
    assert not vector_XK[1, : CONFIG.media_width].any()


@pytest.mark.parametrize("training", [True, False])
def test_media_read_unknown_now_and_then_in_training_only(training: bool) -> None:
    trained = after_a_step(3, 3, config=CONFIG).train(training)
    vector_NK = trained.candidates(torch.full((500,), 3)).detach()
    unknown_K = torch.from_numpy(trained.tables().unknown_K)[: CONFIG.media_width]
    hidden_N = (vector_NK[:, : CONFIG.media_width] == unknown_K).all(dim=1)
    assert bool(hidden_N.any()) == training
    assert hidden_N.float().mean() < 0.2
    assert (vector_NK[:, CONFIG.media_width :] == vector_NK[0, CONFIG.media_width :]).all()

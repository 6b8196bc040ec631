"""The deep ranker of every architecture: finite, row by row, and refused if it cannot be built."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from features.dense import FEATURES
from tests.training.models.test_rankers_as_networks import K, T, deep_inputs
from training.models.architecture import Architecture
from training.models.crosses import LowRankCross, MaskNet
from training.models.deep import DeepRanker
from training.models.mmoe import MixtureOfExperts
from training.models.ple import ProgressiveExtraction
from training.models.regression import Blend
from training.models.sparse_linear import SparseLinear

EACH = [
    Architecture(mixture="ple"),
    Architecture(mixture="ple", levels=2, experts=1),
    Architecture(crosses="dcn"),
    Architecture(crosses="masknet"),
    Architecture(wide=True),
    Architecture("ple", "dcn", wide=True, hidden=8, output=4, dropout=0.3),
    Architecture("ple", "dcn", regression=True),
]


def ranker(architecture: Architecture) -> DeepRanker:
    """With weights that are not those of the start, where crosses and the wide part say nothing."""
    torch.manual_seed(1)
    model = DeepRanker(FEATURES, K, T, architecture=architecture)
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    if model.blend is not None:
        model.blend.regression.weight_XT.normal_()
        model.blend.share.fill_(0.5)
    return model.eval()


def test_the_configuration_names_the_blocks() -> None:
    model = ranker(Architecture("ple", "masknet", wide=True))
    assert isinstance(model.mixture, ProgressiveExtraction)
    assert isinstance(model.crosses, MaskNet)
    assert isinstance(model.wide, SparseLinear)
    model = ranker(Architecture("mmoe", "dcn", wide=False))
    assert isinstance(model.mixture, MixtureOfExperts)
    assert isinstance(model.crosses, LowRankCross)
    assert model.wide is None
    assert model.blend is None
    assert isinstance(ranker(Architecture(regression=True)).blend, Blend)


@pytest.mark.parametrize("architecture", EACH, ids=str)
def test_a_batch_equals_its_candidates_one_by_one(architecture: Architecture) -> None:
    model, inputs = ranker(architecture), deep_inputs(6, 2)
    together = model(*inputs)
    for n, user in enumerate(inputs[5].tolist()):
        of_user = (part[user : user + 1] for part in inputs[2:5])
        own = [part[n : n + 1] for part in (*inputs[:2], *inputs[6:])]
        alone = model(*own[:2], *of_user, torch.zeros(1, dtype=torch.int64), *own[2:])
        assert torch.allclose(together[n], alone[0], atol=1e-4)


@pytest.mark.parametrize("architecture", EACH, ids=str)
def test_odd_inputs_give_finite_logits_and_no_candidates_give_none(architecture: Architecture) -> None:
    model = ranker(architecture)
    for odd in (float("nan"), float("inf"), -float("inf"), 3e38):
        dense_NF = torch.full((2, len(FEATURES)), odd)
        assert model(dense_NF, *deep_inputs(2, 1)[1:]).isfinite().all()
    assert model(*deep_inputs(0, 1)).shape == (0, T)


@pytest.mark.parametrize("architecture", EACH, ids=str)
def test_what_stands_in_an_empty_history_slot_does_not_matter(architecture: Architecture) -> None:
    model, quiet = ranker(architecture), list(deep_inputs(6, 2))
    noisy = list(quiet)
    for slots, actions in ((2, 3), (6, 7)):  # the newest actions, and the related older ones
        quiet[actions][:, :2] = 0
        noisy[slots] = torch.where((quiet[actions] == 0).unsqueeze(2), 1e3, quiet[slots])
    assert torch.equal(model(*noisy), model(*quiet))


@pytest.mark.parametrize("architecture", EACH, ids=str)
def test_training_starts_from_the_base_rates(architecture: Architecture) -> None:
    model, logit_T = DeepRanker(FEATURES, K, T, architecture=architecture).eval(), torch.tensor([-3.0, 0.0, 2.0])
    before = model(*deep_inputs(4, 1))
    model.start_at(logit_T)
    assert torch.allclose(model(*deep_inputs(4, 1)) - before, logit_T.expand(4, T), atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"experts": 0}, "experts must be at least 1"),
        ({"output": 1}, "output must be at least 2"),
        ({"dropout": 1.0}, r"dropout lies in \[0, 1\)"),
        ({"levels": 2}, 'levels = 2 needs mixture = "ple"'),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Architecture(**wrong)

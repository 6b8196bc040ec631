"""The three networks: shapes, odd inputs, and rows that do not see each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from features.dense import FEATURES
from features.schema import Stage, of_stage
from training.models.deep import DeepRanker
from training.models.light import LightRanker
from training.models.student import PrerankStudent

K, L, S, T = 5, 6, 4, 3


def deep_inputs(n: int, b: int) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    histories = torch.randn(b, L, K), torch.randint(0, 12, (b, L)), torch.rand(b, L)
    related = torch.randn(n, S, K), torch.randint(0, 12, (n, S)), torch.rand(n, S)
    return torch.randn(n, len(FEATURES)), torch.randn(n, K), *histories, torch.arange(n) * b // max(n, 1), *related


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), 3e38])
def test_odd_inputs_give_finite_scores(odd: float) -> None:
    student = PrerankStudent(of_stage(FEATURES, Stage.PRERANK))
    dense_NF = torch.full((2, len(FEATURES)), odd)
    assert LightRanker(FEATURES, T)(dense_NF).isfinite().all()
    assert student(dense_NF[:, : student.dense.width // 2]).isfinite().all()
    assert DeepRanker(FEATURES, K, T)(dense_NF, *deep_inputs(2, 1)[1:]).isfinite().all()


def test_a_deep_batch_equals_its_candidates_one_by_one() -> None:
    model, inputs = DeepRanker(FEATURES, K, T), deep_inputs(6, 2)
    together = model(*inputs)
    for n, user in enumerate(inputs[5].tolist()):
        of_user = (part[user : user + 1] for part in inputs[2:5])
        own = [part[n : n + 1] for part in (*inputs[:2], *inputs[6:])]
        alone = model(*own[:2], *of_user, torch.zeros(1, dtype=torch.int64), *own[2:])
        assert torch.allclose(together[n], alone[0], atol=1e-5)


def test_no_candidates_give_no_logits() -> None:
    assert DeepRanker(FEATURES, K, T)(*deep_inputs(0, 1)).shape == (0, T)
    assert LightRanker(FEATURES, T)(torch.zeros(0, len(FEATURES))).shape == (0, T)


def test_the_starting_bias_is_the_base_rate() -> None:
    model, logit_T = LightRanker(FEATURES, T), torch.tensor([-1.0, 0.0, 2.0])
    model.heads.weight.data.zero_()
    model.start_at(logit_T)
    assert torch.equal(model(torch.zeros(1, len(FEATURES)))[0], logit_T)

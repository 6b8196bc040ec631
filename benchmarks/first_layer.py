"""The light ranker cut in two at its first layer: what depends on the media item alone, and all the rest.

The first layer is a sum over features, so its item-side part can be computed for every media item when a bundle is published and
gathered when a request comes. The numbers are the same up to the order of a sum.

Shapes: N candidates, M media, F features of the rank stage, G of them that a request needs, H hidden units, T tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from features.assemble import assemble, candidate_view
from features.dense import FEATURES
from features.item_table import ItemTable
from features.schema import Feature, Scope, Stage, of_stage
from features.user_state import EMPTY
from training.models.calibration import Calibration
from training.models.dense_input import DenseInput
from training.models.light import LightRanker
from training.rankers import TrainedRank

Float32 = NDArray[np.float32]

# The only feature of an item that moves on between two item tables.
_MOVING = "item_age_hours"
_AT_ONCE = 16_384


@dataclass(frozen=True)
class Halves:
    """Which features of the rank stage lie on which side."""

    item: tuple[Feature, ...]
    request: tuple[Feature, ...]


def halves() -> Halves:
    """Features of an item that only a new item table changes, and the others."""
    features = of_stage(FEATURES, Stage.RANK)
    item = tuple(feature for feature in features if feature.scope is Scope.ITEM and feature.name != _MOVING)
    return Halves(item, tuple(feature for feature in features if feature not in item))


class RequestSide(nn.Module):
    """The ranker without the item-side part of its first layer, which comes as an input."""

    def __init__(self, trained: TrainedRank, features: Sequence[Feature]) -> None:
        super().__init__()
        self.dense, self.first_HX = _part(trained.model, features)
        self.bias_H = nn.Parameter(_first(trained.model).bias.detach())
        self.above, self.heads = trained.model.shared[1:], trained.model.heads
        self.calibration: Calibration = trained.calibration

    def forward(self, dense_NG: Tensor, item_NH: Tensor) -> Tensor:
        """Calibrated probabilities [N, T]."""
        hidden_NH = self.dense(dense_NG) @ self.first_HX.T + self.bias_H + item_NH
        return self.calibration(self.heads(self.above(hidden_NH)))


class ItemSide(nn.Module):
    """The item-side part of the first layer."""

    def __init__(self, trained: TrainedRank) -> None:
        super().__init__()
        self.dense, self.first_HX = _part(trained.model, halves().item)

    def forward(self, dense_NF: Tensor) -> Tensor:
        """[N, H] from the item features [N, F], before the bias."""
        return self.dense(dense_NF) @ self.first_HX.T


def item_sides(trained: TrainedRank, items: ItemTable) -> Float32:
    """The item side of every media item: what a bundle would carry, [M, H]."""
    side, features, parts = ItemSide(trained), halves().item, []
    nobody = EMPTY.context("nobody", items.as_of_ms, "")
    for start in range(0, len(items.media_id_M), _AT_ONCE):
        row_N = np.arange(start, min(start + _AT_ONCE, len(items.media_id_M)))
        dense_NF = assemble(candidate_view(nobody, items, row_N, np.zeros_like(row_N)), features)
        with torch.inference_mode():
            parts.append(side(torch.from_numpy(dense_NF)).numpy())
    return np.concatenate(parts)


def export_request_side(trained: TrainedRank, path: Path) -> None:
    """Writes the graph of the request's half: `dense_NG` and `item_NH` to `probability_NT`."""
    features = halves().request
    network = RequestSide(trained, features).eval()
    example = (torch.zeros(5, len(features)), torch.zeros(5, len(network.bias_H)))
    torch.onnx.export(
        network,
        example,
        str(path),
        dynamo=True,
        verbose=False,
        input_names=["dense_NG", "item_NH"],
        output_names=["probability_NT"],
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC}, {0: torch.export.Dim.DYNAMIC}),
        external_data=False,
    )


def _first(model: LightRanker) -> nn.Linear:
    first = model.shared[0]
    assert isinstance(first, nn.Linear)
    return first


def _part(model: LightRanker, features: Sequence[Feature]) -> tuple[DenseInput, Tensor]:
    """The input layer of some features, and their columns of the first layer's weights: values, then presence."""
    if not isinstance(model.dense, DenseInput):
        raise TypeError("only a ranker with standardised inputs can be cut in two here")
    names = of_stage(FEATURES, Stage.RANK)
    place_G = torch.tensor([names.index(feature) for feature in features])
    part = DenseInput(features)
    for name, buffer in part.named_buffers():
        buffer.copy_(model.dense.get_buffer(name)[place_G])
    return part, _first(model).weight.detach()[:, torch.cat([place_G, place_G + len(names)])]

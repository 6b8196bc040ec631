"""Which blocks the deep ranker is made of, as data. Knows the blocks and not what they are fed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn

from training.models.crosses import CrossKind, LowRankCross, MaskNet
from training.models.mmoe import MixtureOfExperts
from training.models.ple import ProgressiveExtraction

MixtureKind = Literal["mmoe", "ple"]


@dataclass(frozen=True)
class Architecture:
    """The part of the deep ranker behind its inputs. docs/benchmarks/architectures.md compares the choices.

    `mixture`: "mmoe" lets all tasks share all `experts`; "ple" gives each task one more of its own. `crosses`: layers before the
    experts that multiply inputs, "dcn" or "masknet". `wide`: a linear part over the raw features that trains with the network.
    `regression`: a logistic regression on the dense inputs that is fitted by itself, and mixed in as validation rows say.
    """

    mixture: MixtureKind = "mmoe"
    crosses: CrossKind = "none"
    wide: bool = False
    regression: bool = False
    experts: int = 4
    levels: int = 1  # of extraction; "ple" only
    hidden: int = 96  # first layer of an expert
    output: int = 64  # of an expert
    dropout: float = 0.0  # inside the experts

    def __post_init__(self) -> None:
        """Raises ValueError naming a field that no network can be made of."""
        for name in ("experts", "levels", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"Architecture.{name} must be at least 1, got {getattr(self, name)}")
        if self.output < 2:
            raise ValueError(f"Architecture.output must be at least 2, got {self.output}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"Architecture.dropout lies in [0, 1), got {self.dropout}")
        if self.levels > 1 and self.mixture != "ple":
            raise ValueError(f'Architecture.levels = {self.levels} needs mixture = "ple"')

    def cross_layers(self, width: int) -> nn.Identity | LowRankCross | MaskNet:
        """What stands between the input [N, width] and the experts."""
        if self.crosses == "none":
            return nn.Identity()
        return LowRankCross(width) if self.crosses == "dcn" else MaskNet(width)

    def mix(self, width: int, n_tasks: int) -> MixtureOfExperts | ProgressiveExtraction:
        """The experts with their gates and towers, [N, width] to logits [N, T]."""
        if self.mixture == "mmoe":
            return MixtureOfExperts(
                width,
                n_tasks,
                n_experts=self.experts,
                hidden=self.hidden,
                expert=self.output,
                dropout=self.dropout,
            )
        return ProgressiveExtraction(
            width,
            n_tasks,
            shared=self.experts,
            levels=self.levels,
            hidden=self.hidden,
            expert=self.output,
            dropout=self.dropout,
        )

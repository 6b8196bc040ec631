"""What a feature is. The list itself is `features/dense.py`; this file knows no feature by name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from features.view import View

Float32 = NDArray[np.float32]


class Scope(StrEnum):
    """What a feature's value depends on, which is also the earliest point where it is computed (features/assemble.py)."""

    USER = "user"  # the user at the moment of the request: once per user
    REQUEST = "request"  # where and when the page is asked for: once per user too
    ITEM = "item"  # the item table alone: once per table
    CROSS = "cross"  # the candidate and the request together


class Stage(StrEnum):
    """The ranking stages, in request order; also their names in bundles, telemetry and responses."""

    PRERANK = "prerank"
    RANK = "rank"
    RERANK = "rerank"


class Transform(StrEnum):
    """What the model graph does to the raw value before it standardises it."""

    IDENTITY = "identity"
    LOG1P = "log1p"  # sign(x) * log(1 + |x|): counts and ages, which have heavy tails


RANKERS = frozenset({Stage.RANK, Stage.RERANK})
ALL_STAGES = frozenset(Stage)


@dataclass(frozen=True, eq=False)
class Feature:
    """One dense input: float32 per candidate, NaN where the value is missing (a missing value is not a zero).

    `compute` maps a `View` of N candidates to float32 [N]; it is the only code that computes the feature, in training, streaming
    and serving alike. It may read of the view what `scope` says, and nothing else.
    """

    name: str
    scope: Scope
    compute: Callable[[View], Float32]
    transform: Transform = Transform.IDENTITY
    stages: frozenset[Stage] = RANKERS


def of_stage(features: Sequence[Feature], stage: Stage) -> tuple[Feature, ...]:
    """The features that `stage` consumes, in declaration order: this is the column order of its input matrix."""
    return tuple(feature for feature in features if stage in feature.stages)


def fingerprint(features: Sequence[Feature], constants: dict[str, object]) -> str:
    """SHA-256 over everything that decides what a column means; a bundle trained under another one is refused.

    `constants` are the numbers that `compute` functions depend on (history length, half-lives ...). A changed formula under an
    unchanged name is not seen: rename the feature when its meaning changes.
    """
    described = [[feature.name, feature.scope, feature.transform, sorted(feature.stages)] for feature in features]
    canonical = json.dumps({"features": described, "constants": constants}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()

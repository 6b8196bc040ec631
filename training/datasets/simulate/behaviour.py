"""How people act on what they look at: the one place with the true probabilities. Knows signals; draws on demand.

Shapes: X impressions, S signals, H heads (one per task of features.actions, in its order).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.actions import TASKS

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]

SIGNALS = (
    "match",  # cosine of taste and content
    "mood",  # cosine of the topic that the user is after right now and the content
    "followed",  # 1 when the user follows the account
    "quality",
    "depth",  # match * quality: what is well made counts where the topic interests
    "fresh",  # exp(-age / day)
    "overlong",  # log(duration / the user's patience)
    "misfit",  # its square
    "spam",
    "eager",
    "sociable",
    "grumpy",
)

# The logit of each head: its base, then the weights of the signals that move it.
_BASE = {
    "click": -2.6,
    "long_view": -1.15,
    "like": -4.0,
    "save": -5.1,
    "share": -4.9,
    "comment": -5.0,
    "follow": -5.1,
    "negative": -4.25,
}
_WEIGHTS: dict[str, dict[str, float]] = {
    "click": {
        "match": 2.4,
        "mood": 1.6,
        "followed": 0.7,
        "quality": 0.25,
        "depth": 0.7,
        "fresh": 0.35,
        "misfit": -0.12,
        "spam": 0.9,
        "eager": 0.55,
    },
    "long_view": {"match": 1.6, "mood": 0.9, "quality": 0.45, "overlong": -0.8, "spam": -2.0},
    "like": {"match": 1.3, "mood": 0.4, "followed": 0.8, "quality": 0.45, "depth": 0.6, "spam": -2.2, "sociable": 0.7},
    "save": {"match": 1.2, "quality": 0.6, "depth": 0.6, "overlong": 0.35, "spam": -2.0, "sociable": 0.5},
    "share": {"match": 0.8, "mood": 0.7, "quality": 0.6, "fresh": 0.5, "spam": -2.0, "sociable": 0.7},
    "comment": {"match": 0.9, "followed": 0.9, "fresh": 0.6, "spam": -1.0, "sociable": 0.9},
    "follow": {"match": 1.5, "quality": 0.6, "depth": 0.5, "spam": -2.0, "sociable": 0.5},
    "negative": {"match": -1.6, "followed": -0.8, "quality": -0.35, "spam": 2.6, "overlong": 0.2, "grumpy": 0.8},
}
# Actions are correlated beyond their common causes: who watched to the end likes more, who was lured in complains more.
_AFTER_LONG_VIEW = {"like": 0.9, "save": 0.7, "share": 0.7, "comment": 0.5, "follow": 0.8}
_AFTER_CLICK = {"negative": 0.5}

HEADS = tuple(task.name for task in TASKS)
_WEIGHT_HS = np.array([[_WEIGHTS[head].get(signal, 0.0) for signal in SIGNALS] for head in HEADS])
_BASE_H1 = np.array([[_BASE[head]] for head in HEADS])

_SEEN_FLOOR, _SEEN_DECAY = 0.22, 0.93
REPORT_SHARE, SPAM_REPORT_SHARE = 0.08, 0.4  # of negative actions: reports rather than hides


@dataclass(frozen=True)
class Behaviour:
    """Logits per head of X impressions: of a click, of a negative action without one, of the rest given a click."""

    logit_HX: Float64
    followed_X: Bool  # nobody follows twice

    def probabilities(self) -> dict[str, Float64]:
        """P(task | the user looks at the item), for every task. Each shape [X]."""
        click_X, long_view_X = (_sigmoid(self._logit(head)) for head in ("click", "long_view"))
        chances = {"click": click_X, "long_view": click_X * long_view_X}
        for head in _AFTER_LONG_VIEW:
            watched_X, left_X = (self._given_click(head, np.full_like(click_X, seen)) for seen in (1, 0))
            chances[head] = click_X * (long_view_X * watched_X + (1 - long_view_X) * left_X)
        clicked_X, passed_X = (self._negative(np.full_like(click_X, clicked)) for clicked in (1, 0))
        chances["negative"] = click_X * clicked_X + (1 - click_X) * passed_X
        return {head: chances[head] for head in HEADS}

    def draw(self, examined_X: Bool, rng: np.random.Generator) -> dict[str, Bool]:
        """What the users do: nothing at all with an item that they do not look at. Each shape [X]."""
        chance_HX = rng.random(self.logit_HX.shape)
        roll = dict(zip(HEADS, chance_HX, strict=True))
        click_X = examined_X & (roll["click"] < _sigmoid(self._logit("click")))
        long_view_X = click_X & (roll["long_view"] < _sigmoid(self._logit("long_view")))
        done = {"click": click_X, "long_view": long_view_X}
        for head in _AFTER_LONG_VIEW:
            done[head] = click_X & (roll[head] < self._given_click(head, long_view_X.astype(np.float64)))
        done["negative"] = examined_X & (roll["negative"] < self._negative(click_X.astype(np.float64)))
        return {head: done[head] for head in HEADS}

    def _logit(self, head: str) -> Float64:
        return np.asarray(self.logit_HX[HEADS.index(head)])

    def _given_click(self, head: str, long_view_X: Float64) -> Float64:
        chance_X = _sigmoid(self._logit(head) + _AFTER_LONG_VIEW[head] * long_view_X)
        return np.where(self.followed_X, 0.0, chance_X) if head == "follow" else chance_X

    def _negative(self, click_X: Float64) -> Float64:
        return _sigmoid(self._logit("negative") + _AFTER_CLICK["negative"] * click_X)


def behave(signals: Mapping[str, NDArray[np.generic]]) -> Behaviour:
    """The behaviour that the signals call forth, each an array of shape [X]."""
    signal_SX = np.stack([signals[name].astype(np.float64) for name in SIGNALS])
    return Behaviour(_WEIGHT_HS @ signal_SX + _BASE_H1, signals["followed"].astype(np.bool_))


def examination_probability(position_X: NDArray[np.integer]) -> Float64:
    """P(the user looks at the item in this place of the slate, from 0): falls towards a floor. Shape [X]."""
    return np.asarray(_SEEN_FLOOR + (0.98 - _SEEN_FLOOR) * _SEEN_DECAY ** position_X.astype(np.float64))


def _sigmoid(logit_X: Float64) -> Float64:
    return np.asarray(1.0 / (1.0 + np.exp(-logit_X)))

"""Who gets which arm. Pure functions of the user's id and the experiments: no state, no clock, no draw.

A layer hashes user ids with its own salt, so what one layer gives says nothing about what another gives. Inside of it a user has
one arm or none ("control"). Two numbers come out of the hash. The first says whether the user is in the layer at all: below
`share`; a larger share takes users in and moves nobody. The second chooses the arm by weighted rendezvous hashing: each arm draws
its own number u from it, and the smallest -ln(u) / weight wins, which arm a does with probability weight_a / sum of weights. An
arm's number does not depend on the other arms, so another weight moves users into or out of that arm only, as few as can be.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from gateway.experiments.settings import NO_SETTINGS, Settings, together
from gateway.hashing import fraction, mixed, unit

CONTROL = "control"  # the arm of everybody who has none
FORCED, FALLBACK = "forced:", "fallback:"  # no arm's name holds a colon
DEFAULT = "default"  # how a request without experiments is called


@dataclass(frozen=True)
class Arm:
    """Other settings for a part of the users of a layer."""

    name: str
    weight: float = 1.0  # relative to the layer's other arms
    settings: Settings = NO_SETTINGS
    places: Mapping[str, str] = field(default_factory=dict, compare=False)  # setting -> FILE:LINE:COLUMN, for people


@dataclass(frozen=True)
class Placed:
    """What one layer makes of one user."""

    layer: str
    arm: str
    settings: Settings
    propensity: float  # probability of this arm; 1 where it was forced
    forced: bool = False
    fallback: bool = False  # the arm cannot be served as it is written, so the defaults are

    @property
    def label(self) -> str:
        """The arm as it is reported; under another name where it must not be counted for the arm."""
        return f"{FALLBACK if self.fallback else FORCED if self.forced else ''}{self.arm}"


@dataclass(frozen=True)
class Assignment:
    """What all layers make of one user."""

    placed: tuple[Placed, ...] = ()  # by layer name

    @cached_property
    def settings(self) -> Settings:
        """What the arms override."""
        return together(each.settings for each in self.placed if not each.fallback)

    @property
    def arms(self) -> dict[str, str]:
        """Layer to arm, as reported."""
        return {each.layer: each.label for each in self.placed}

    @property
    def name(self) -> str:
        """All of it in one word, "layer=arm,layer=arm"; "default" without experiments."""
        return ",".join(f"{layer}={arm}" for layer, arm in self.arms.items()) or DEFAULT

    @property
    def propensity(self) -> float:
        """Probability of this combination: layers are independent."""
        return math.prod(each.propensity for each in self.placed)

    @property
    def excluded(self) -> bool:
        """Whether some arm is not the user's by chance, or not served: nothing to compare arms by."""
        return any(each.forced or each.fallback for each in self.placed)

    def without(self, *settings: str) -> Assignment:
        """The arms that override one of these settings fall back to the defaults, with everything else that they override."""
        return Assignment(
            tuple(
                replace(each, fallback=True) if each.settings.named().keys() & set(settings) else each
                for each in self.placed
            )
        )


NO_ARMS = Assignment()


@dataclass(frozen=True)
class Layer:
    """Arms of which a user has one at most. `share` of the users take part."""

    name: str
    salt: str
    share: float
    arms: tuple[Arm, ...]
    forced: Mapping[str, str] = field(default_factory=dict)  # user id -> name of an arm, or "control"

    def place(self, user_id: str) -> Placed:
        """The user's arm, and how likely it was."""
        if user_id in self.forced:
            name = self.forced[user_id]
            settings = self._by_name[name].settings if name != CONTROL else NO_SETTINGS
            return Placed(self.name, name, settings, 1.0, forced=True)
        arm = self.arm_of(user_id)
        if arm is None:
            return Placed(self.name, CONTROL, NO_SETTINGS, 1.0 - self.share)
        return Placed(self.name, arm.name, arm.settings, self.share * arm.weight / self._weight)

    def arm_of(self, user_id: str) -> Arm | None:
        """The arm that chance gives the user, None for control. What is forced does not count here."""
        salted = self._salted.copy()  # cheaper than salting again
        salted.update(user_id.encode())
        digest = salted.digest()
        if unit(digest) >= self.share:
            return None
        word = int.from_bytes(digest[8:], "little")
        best, best_arm = math.inf, None
        for arm, arm_word in self._drawing:
            u = fraction(mixed(word ^ arm_word)) or 2.0**-54  # 0 has no logarithm
            cost = -math.log(u) / arm.weight
            if cost < best:
                best, best_arm = cost, arm
        return best_arm

    @cached_property
    def _salted(self) -> hashlib.blake2b:
        return hashlib.blake2b(digest_size=16, salt=_digest(self.salt, 16))

    @cached_property
    def _drawing(self) -> tuple[tuple[Arm, int], ...]:
        """The arms that chance may give, each with the number that sets its draws apart."""
        return tuple((arm, int.from_bytes(_digest(arm.name, 8), "little")) for arm in self.arms if arm.weight > 0)

    @cached_property
    def _weight(self) -> float:
        return sum(arm.weight for arm in self.arms)

    @cached_property
    def _by_name(self) -> dict[str, Arm]:
        return {arm.name: arm for arm in self.arms}


@dataclass(frozen=True)
class Experiments:
    """All layers of the file, by name."""

    layers: tuple[Layer, ...] = ()

    def assign(self, user_id: str) -> Assignment:
        """The arms of a user: one per layer."""
        return Assignment(tuple(layer.place(user_id) for layer in self.layers)) if self.layers else NO_ARMS


NO_EXPERIMENTS = Experiments()


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=size).digest()

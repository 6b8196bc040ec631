"""The experiment file: YAML text in, experiments out, or everything that is wrong with it, each with line, column and key.

Checks what can be known without a bundle; `terms` checks the rest. Knows no request.
"""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from gateway.diversity import DiversityConfig
from gateway.experiments import settings
from gateway.experiments.layers import CONTROL, NO_EXPERIMENTS, Arm, Experiments, Layer
from gateway.experiments.settings import Settings
from gateway.experiments.yaml_text import Reading, TextRefused, line_of, suggestion, under
from gateway.random_slots import RandomSlots
from serving.wire.contexts import MAX_USER_ID
from serving.wire.ranking import MAX_WEIGHT

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_LAYER_KEYS = ("salt", "share", "arms", "force")
_ARM_KEYS = ("weight", *settings.NAMES)
_MIN_ARM_WEIGHT, _MAX_ARM_WEIGHT = 1e-6, 1e6  # or 0
_MAX_POSITION = 1_000_000


class ExperimentsRefused(ValueError):
    """The file does not serve; `str()` names every problem of it, one a line."""


def read_experiments(path: Path) -> Experiments:
    """The experiments of a file, none where there is no file. Raises ExperimentsRefused."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return NO_EXPERIMENTS
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentsRefused(f"{path}: cannot be read: {error}") from error
    return parse(text, path.name)


def parse(text: str, name: str = "experiments.yaml") -> Experiments:
    """The experiments of a text. Raises ExperimentsRefused."""
    reading = Reading(name)
    try:
        root = reading.root(text)
        experiments = NO_EXPERIMENTS if root is None else _File(reading).experiments(root)
        reading.finish()
    except TextRefused as error:
        raise ExperimentsRefused(str(error)) from error
    return experiments


class _File:
    """One pass over the nodes. What is wrong goes to the reading, and something harmless goes on in its place."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._salts: dict[str, str] = {}  # salt -> layer
        self._overridden: dict[str, tuple[str, int]] = {}  # setting -> the first layer that overrides it, and its line

    def experiments(self, root: yaml.Node) -> Experiments:
        top = self._reading.mapping(root, "", allowed=("layers",))
        layers = self._reading.mapping(top["layers"][1], "layers", name=_NAME) if "layers" in top else {}
        made = [self._layer(name, key, node) for name, (key, node) in layers.items()]
        return Experiments(tuple(sorted(made, key=lambda layer: layer.name)))

    def _layer(self, name: str, key_node: yaml.Node, node: yaml.Node) -> Layer:
        reading, path = self._reading, under("layers", name)
        keys = reading.mapping(node, path, allowed=_LAYER_KEYS)
        for required in ("share", "arms"):
            if required not in keys and isinstance(node, yaml.MappingNode):
                reading.refuse(key_node, path, f"has no {required!r}")
        share = reading.number(keys["share"][1], under(path, "share"), 0, 1) if "share" in keys else 0
        arms = self._arms(name, path, *keys["arms"]) if "arms" in keys else ()
        forced = self._forced(path, keys["force"][1], arms) if "force" in keys else {}
        return Layer(name, self._salt(name, path, key_node, keys.get("salt")), share or 0.0, arms, forced)

    def _salt(self, layer: str, path: str, key_node: yaml.Node, found: tuple[yaml.Node, yaml.Node] | None) -> str:
        node = key_node if found is None else found[1]
        salt = layer if found is None else self._reading.text(node, under(path, "salt"))
        if salt is None:
            return layer
        other = self._salts.setdefault(salt, layer)
        if other != layer:
            problem = f"is {salt!r} as in layer {other!r}: their arms would go to the same users; give it another salt"
            self._reading.refuse(node, under(path, "salt"), problem)
        return salt

    def _arms(self, layer: str, path: str, key_node: yaml.Node, node: yaml.Node) -> tuple[Arm, ...]:
        reading, path = self._reading, under(path, "arms")
        arms = []
        for name, (arm_key, arm_node) in reading.mapping(node, path, name=_NAME).items():
            if name == CONTROL:
                reading.refuse(
                    arm_key, under(path, name), "is what users without an arm are called; choose another name"
                )
            arms.append(self._arm(layer, name, under(path, name), arm_node))
        if isinstance(node, yaml.MappingNode) and not any(arm.weight for arm in arms):
            reading.refuse(key_node, path, "has no arm with a weight above 0; `share: 0` gives no user an arm")
        return tuple(arms)

    def _arm(self, layer: str, name: str, path: str, node: yaml.Node) -> Arm:
        reading = self._reading
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return Arm(name)  # `same:` alone: an arm like control, of a size of its own
        keys = reading.mapping(node, path, allowed=_ARM_KEYS)
        weight = self._weight(keys["weight"][1], under(path, "weight")) if "weight" in keys else 1.0
        for setting in keys.keys() & set(settings.NAMES):
            other, line = self._overridden.setdefault(setting, (layer, line_of(keys[setting][0])))
            if other != layer:
                problem = f"is overridden by layer {other!r} too (line {line}); two layers cannot set the same thing"
                reading.refuse(keys[setting][0], under(path, setting), problem)

        def node_of(setting: str) -> tuple[yaml.Node, str] | None:
            return (keys[setting][1], under(path, setting)) if setting in keys else None

        overrides = Settings(
            value_weights=self._value_weights(*found) if (found := node_of("value_weights")) else None,
            diversity=self._diversity(*found) if (found := node_of("diversity")) else None,
            query=self._query(*found) if (found := node_of("query")) else None,
            bundle=reading.text(*found) if (found := node_of("bundle")) else None,
            random_slots=self._random_slots(*found) if (found := node_of("random_slots")) else None,
        )
        places = {setting: reading.place(key) for setting, (key, _) in keys.items()}
        return Arm(name, weight, overrides, places)

    def _weight(self, node: yaml.Node, path: str) -> float:
        weight = self._reading.number(node, path, 0, _MAX_ARM_WEIGHT)
        if weight is not None and 0 < weight < _MIN_ARM_WEIGHT:
            self._reading.refuse(node, path, f"must be 0, or at least {_MIN_ARM_WEIGHT:g}, got {weight:g}")
        return 1.0 if weight is None else weight

    def _value_weights(self, node: yaml.Node, path: str) -> str | dict[str, float] | None:
        reading = self._reading
        if not isinstance(node, yaml.MappingNode):
            return reading.text(node, path)
        weights = {
            task: reading.number(weight, under(path, task), -MAX_WEIGHT, MAX_WEIGHT)
            for task, (_, weight) in reading.mapping(node, path).items()
        }
        if not any(weight is None or weight for weight in weights.values()):
            reading.refuse(node, path, "gives every task weight 0, which orders nothing; set at least one")
        return {task: weight or 0.0 for task, weight in weights.items()}

    def _diversity(self, node: yaml.Node, path: str) -> dict[str, float]:
        reading = self._reading
        keys = reading.mapping(node, path, allowed=("decay", "floor"))
        found = {name: reading.number(value, under(path, name), 0, 1) for name, (_, value) in keys.items()}
        known = {name: value for name, value in found.items() if value is not None}
        try:
            DiversityConfig(**known)
        except ValueError as error:  # a floor of 0
            reading.refuse(keys["floor"][1], under(path, "floor"), f"is refused: {error}")
        return known

    def _query(self, node: yaml.Node, path: str) -> str | None:
        name = self._reading.text(node, path)
        if name is not None and not _NAME.fullmatch(name):
            self._reading.refuse(node, path, "must be 1 to 64 letters, digits, '_', '.' or '-': the name of NAME.igql")
            return None
        return name

    def _random_slots(self, node: yaml.Node, path: str) -> RandomSlots:
        reading = self._reading
        keys = reading.mapping(node, path, allowed=("share", "from", "to"))
        if "share" not in keys and isinstance(node, yaml.MappingNode):
            reading.refuse(node, path, "has no 'share': how often chance decides at a position, from 0 to 1")
        share = reading.number(keys["share"][1], under(path, "share"), 0, 1) if "share" in keys else 0
        first = reading.whole_number(keys["from"][1], under(path, "from"), 0, _MAX_POSITION) if "from" in keys else 0
        first = first or 0
        last = reading.whole_number(keys["to"][1], under(path, "to"), first, _MAX_POSITION) if "to" in keys else None
        return RandomSlots(share or 0.0, first, last)

    def _forced(self, path: str, node: yaml.Node, arms: tuple[Arm, ...]) -> dict[str, str]:
        reading, path = self._reading, under(path, "force")
        known = {CONTROL, *(arm.name for arm in arms)}
        forced: dict[str, str] = {}
        for arm, (key_node, users) in reading.mapping(node, path).items():
            if arm not in known:
                reading.refuse(key_node, under(path, arm), f"is no arm of this layer; {suggestion(arm, known)}")
            for user_node in reading.items(users, under(path, arm)):
                user = reading.text(user_node, under(path, arm))
                if user is None:
                    continue
                if len(user) > MAX_USER_ID:
                    reading.refuse(user_node, under(path, arm), f"has a user id of more than {MAX_USER_ID} characters")
                elif forced.setdefault(user, arm) != arm:
                    problem = f"has user {user!r}, who is forced into {forced[user]!r} already"
                    reading.refuse(user_node, under(path, arm), problem)
        return forced

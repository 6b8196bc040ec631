"""What one bundle can serve of an arm, and the policy of a page that comes of it. Knows no file, no user and no stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from gateway.experiments.layers import Assignment, Experiments
from gateway.experiments.settings import Settings
from gateway.experiments.yaml_text import suggestion
from gateway.page import PagePolicy
from gateway.value_model import check_weights
from serving.errors import InvalidArgument


@dataclass(frozen=True)
class Terms:
    """The tasks and value tables of a bundle, and how a page is made where no arm says otherwise."""

    default: PagePolicy
    tasks: tuple[str, ...]
    tables: Mapping[str, Mapping[str, float]]

    def policy(self, assignment: Assignment) -> PagePolicy:
        """How the page of a user with these arms is made. `refusal` must have nothing against their settings."""
        settings, default = assignment.settings, self.default
        weights = default.weights if settings.value_weights is None else settings.value_weights
        return PagePolicy(
            weights=self.tables[weights] if isinstance(weights, str) else weights,
            diversity=replace(default.diversity, **(settings.diversity or {})),
            random_slots=settings.random_slots or default.random_slots,
            query=settings.query or default.query,
            assignment=assignment,
        )

    def refusal(self, settings: Settings) -> str:
        """Why this bundle cannot serve an arm's `value_weights`; empty if it can."""
        weights = settings.value_weights
        if isinstance(weights, str):
            if weights not in self.tables:
                return f"has no value table {weights!r}; {suggestion(weights, self.tables)}"
            try:
                check_weights(weights, self.tables[weights])
            except InvalidArgument as error:
                return f"has a value table that cannot be used: {error}"
            return ""
        unknown = sorted(set(weights or {}) - set(self.tasks))
        return f"predicts no task {unknown[0]!r}; {suggestion(unknown[0], self.tasks)}" if unknown else ""


def misfits(experiments: Experiments, held: Mapping[str, Terms], current: str) -> Iterator[str]:
    """What the bundles that are held, version to terms, cannot serve: a line for each, with its place in the file.

    One layer at most names bundles. An arm of it is served by its own one, else by the current one; arms of other layers by all.
    """
    named = {layer.name: {arm.settings.bundle for arm in layer.arms} - {None} for layer in experiments.layers}
    every = set().union(*named.values())
    for layer in experiments.layers:
        for arm in layer.arms:
            key, own = f"layers.{layer.name}.arms.{arm.name}", arm.settings.bundle
            if own is not None and own not in held:
                there_is = ", ".join(held) or "none"
                yield f"{arm.places.get('bundle', '')}: {key}.bundle is {own!r}, which is not held; held: {there_is}"
            versions = {own} if own is not None else {current} | (set() if named[layer.name] else every)
            for version in [version for version in held if version in versions]:
                if refusal := held[version].refusal(arm.settings):
                    yield f"{arm.places.get('value_weights', '')}: {key}.value_weights: bundle {version} {refusal}"

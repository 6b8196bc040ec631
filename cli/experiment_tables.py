"""The experiment file as people and programs read it: checked against what is published here, and as tables."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from cli.errors import CommandError
from cli.workspace import Workspace
from gateway.diversity import DiversityConfig
from gateway.experiments.file import ExperimentsRefused, read_experiments
from gateway.experiments.layers import CONTROL, Experiments, Layer
from gateway.experiments.settings import Settings
from gateway.experiments.terms import Terms, misfits
from gateway.experiments.yaml_text import suggestion
from gateway.page import PagePolicy
from gateway.random_slots import RandomSlots


def checked(workspace: Workspace, file: Path) -> Experiments:
    """The experiments of a file, checked against the published bundles and the named queries of the workspace.

    Raises CommandError with every problem. What is active or held when the services run may be less than what is published.
    """
    try:
        experiments = read_experiments(file)
    except ExperimentsRefused as error:
        raise CommandError(str(error)) from error
    problems = [*_bundle_problems(workspace, experiments), *_query_problems(workspace, experiments)]
    if problems:
        raise CommandError("\n".join(problems))
    return experiments


def layer_table(experiments: Experiments) -> Table:
    """Every arm, how many users get it, and what it changes."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("layer", "arm", "users", "overrides", "forced"):
        table.add_column(column, justify="right" if column == "users" else "left")
    for facts in layer_facts(experiments):
        overrides = ", ".join(f"{name} {_shown(value)}" for name, value in facts["overrides"].items())
        row = (
            facts["layer"],
            facts["arm"],
            f"{facts['users']:.2%}",
            overrides or "nothing",
            ", ".join(facts["forced"]),
        )
        table.add_row(*(Text(cell) for cell in row))
    return table


def layer_facts(experiments: Experiments) -> list[dict[str, Any]]:
    """One entry per arm of every layer, control included; `users` is a share of all users."""
    return [
        {
            "layer": layer.name,
            "arm": name,
            "users": users,
            "overrides": _plain(settings),
            "forced": sorted(user for user, arm in layer.forced.items() if arm == name),
        }
        for layer in experiments.layers
        for name, users, settings in _arms(layer)
    ]


def assignment_facts(experiments: Experiments, users: Iterable[str]) -> list[dict[str, Any]]:
    """One entry per user: the arms as a response reports them."""
    return [
        {
            "user": user,
            "arms": assigned.arms,
            "propensity": assigned.propensity,
            "excluded": assigned.excluded,
            "overrides": _plain(assigned.settings),
        }
        for user, assigned in ((user, experiments.assign(user)) for user in users)
    ]


def assignment_table(experiments: Experiments, users: Iterable[str]) -> Table:
    """The arms of users, a column per layer."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("user", *(layer.name for layer in experiments.layers), "propensity"):
        table.add_column(Text(column), justify="right" if column == "propensity" else "left")
    for facts in assignment_facts(experiments, users):
        table.add_row(Text(facts["user"]), *(Text(arm) for arm in facts["arms"].values()), f"{facts['propensity']:.6g}")
    return table


def _arms(layer: Layer) -> Iterable[tuple[str, float, Settings]]:
    """Name, share of all users, and overrides."""
    total = sum(arm.weight for arm in layer.arms)
    yield CONTROL, 1.0 - layer.share, Settings()
    for arm in layer.arms:
        yield arm.name, layer.share * arm.weight / total, arm.settings


def _bundle_problems(workspace: Workspace, experiments: Experiments) -> list[str]:
    store = workspace.bundles()
    current = store.current_version()
    if current is None:
        raise CommandError(f"no bundle is published in {store.root}", "run `explore train`")
    manifests = [store.manifest(version) for version in store.versions()]
    policy = PagePolicy({}, DiversityConfig())
    terms = {each.version: Terms(policy, each.tasks, each.value_weights) for each in manifests}
    return list(misfits(experiments, terms, current))


def _query_problems(workspace: Workspace, experiments: Experiments) -> list[str]:
    known = sorted(path.stem for path in workspace.queries.glob("*.igql"))
    return [
        f"{arm.places['query']}: layers.{layer.name}.arms.{arm.name}.query: there is no {arm.settings.query}.igql in "
        f"{workspace.queries}; {suggestion(arm.settings.query, known)}"
        for layer in experiments.layers
        for arm in layer.arms
        if arm.settings.query is not None and arm.settings.query not in known
    ]


def _plain(settings: Settings) -> dict[str, Any]:
    return {
        name: _slots(value) if isinstance(value, RandomSlots) else value for name, value in settings.named().items()
    }


def _slots(slots: RandomSlots) -> dict[str, float | int | None]:
    return {"share": slots.share, "from": slots.first, "to": slots.last}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {each}" for key, each in value.items() if each is not None) + "}"
    return str(value)

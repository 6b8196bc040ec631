"""Sourcing as the services of a workspace do it now: under its takedowns and the environment's rules, by the query of arms.

Knows the files of the workspace; knows nothing of users and candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cli.errors import CommandError
from cli.sourcing_settings import sourcing_config
from cli.workspace import Workspace
from gateway.experiments.file import ExperimentsRefused, read_experiments
from gateway.experiments.layers import CONTROL, FALLBACK, FORCED
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.engine import RetrievalEngine
from serving.takedowns import TakedownsRefused


def open_engine(workspace: Workspace, catalogue: Catalogue, query: Path) -> RetrievalEngine:
    """The engine with `query` as its default one; what the workspace took down, or the environment refuses, is never found.

    Raises IgqlError for a query that is wrong, CommandError for a list of takedowns that is broken or a variable that is wrong.
    """
    takedowns = workspace.takedown_file if workspace.takedown_file.exists() else None
    try:
        return RetrievalEngine(catalogue, sourcing_config(query, takedowns))
    except TakedownsRefused as error:
        raise CommandError(str(error), "correct or remove the line") from error


def query_of(workspace: Workspace, arms: Mapping[str, str]) -> Path:
    """The query file that sources candidates for a user with these arms: layer to arm, as a response reports them.

    An arm that fell back has the default query. Raises CommandError if the experiment file cannot be read, or no longer has an arm.
    """
    names = {layer: arm.removeprefix(FORCED) for layer, arm in arms.items() if not arm.startswith(FALLBACK)}
    named = {layer: arm for layer, arm in names.items() if arm != CONTROL}
    if not named:
        return workspace.query_file()
    file = workspace.experiments_file
    try:
        layers = read_experiments(file).layers
    except ExperimentsRefused as error:
        raise CommandError(str(error), "correct the file: the query of the user's arm stands in it") from error
    settings = {(layer.name, arm.name): arm.settings for layer in layers for arm in layer.arms}
    for layer, arm in named.items():
        if (layer, arm) not in settings:
            raise CommandError(
                f"the page is of arm {arm!r} of layer {layer!r}, which {file} does not have", "ask once more"
            )
    queries = [query for arm in named.items() if (query := settings[arm].query) is not None]
    return workspace.queries / f"{queries[0]}.igql" if queries else workspace.query_file()

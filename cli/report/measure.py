"""What a report is made of: the manifest, what the bundle is worth on the end of its data set, and what its models read.

Whatever cannot be had, such as a data set that is gone, is noted with its reason and leaves the rest alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from bundles import layout
from bundles.errors import BundleError
from bundles.manifest import Manifest
from cli.errors import CommandError
from cli.judging import judge_bundles
from cli.progress import Steps
from cli.workspace import Workspace
from features.item_table import ItemTable
from features.schema import Stage
from retrieval_svc.igql.errors import IgqlError
from training.bundle_evaluation import (
    DEFAULT_HOURS,
    Ablation,
    EmbeddingMap,
    Judgement,
    ablate,
    map_accounts,
    thinned,
)
from training.errors import TrainingError

Found = TypeVar("Found")

USERS = 400
_RANKERS = (Stage.RERANK, Stage.RANK)
_EXPLAINED = (BundleError, TrainingError, CommandError, IgqlError)


@dataclass(frozen=True)
class Findings:
    """Everything that a page shows. `unmeasured` says why there are no `figures` and `ablations`, where there are none."""

    manifest: Manifest
    figures: dict[str, Any] | None
    ablations: dict[str, list[Ablation]] = field(default_factory=dict)
    ablation_rows: int = 0
    accounts: EmbeddingMap | None = None
    unmeasured: str = ""
    unmapped: str = ""


def measure(workspace: Workspace, version: str, data: Path | None, users: int, steps: Steps) -> Findings:
    """Judges a bundle on `data`, by default on the data set that it was trained on.

    Raises what `judge_bundles` does if the bundle cannot be judged on a data set that was asked for by name; for the default
    one the reason becomes part of the findings. Raises BundleError when there is no manifest to read.
    """
    manifest = workspace.bundles().manifest(version)
    accounts, unmapped = _explained(lambda: _accounts(workspace, version))
    found = Findings(manifest, None, accounts=accounts, unmapped=unmapped or "fewer than three accounts have a vector")

    def judged() -> tuple[dict[str, Any], list[Judgement]]:
        place = data or workspace.held_dataset(manifest.dataset)
        return judge_bundles(workspace, [version], place, DEFAULT_HOURS, users, steps)

    judgement, reason = (judged(), "") if data is not None else _explained(judged)
    if judgement is None:
        return replace(found, unmeasured=reason)
    figures, (only,) = judgement
    window = replace(only.window, rows=thinned(only.window.rows))
    ablations = {}
    for stage in _RANKERS:
        with steps.step(f"what {stage} reads") as report:
            ablations[stage.value] = ablate(only.opened, stage, window, report)
    return replace(found, figures=figures, ablations=ablations, ablation_rows=len(window.rows))


def _accounts(workspace: Workspace, version: str) -> EmbeddingMap | None:
    bundle = workspace.bundles().open(version, None)
    try:
        return map_accounts(ItemTable.open(bundle.path / layout.ITEMS))
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(f"bundle {version}: {layout.ITEMS} cannot be read: {error}") from error


def _explained(find: Callable[[], Found]) -> tuple[Found | None, str]:
    """What was found, or why not."""
    try:
        return find(), ""
    except _EXPLAINED as error:
        return None, str(error)

"""The reference job: a bundle that the benchmark makes by itself, and the program that sources from it.

200,000 accounts with vectors of 64 dimensions, 1 million media, four sources mixed, 500 candidates to 150 to 50 to 25, and the
graphs of the default recipe. What takes long is kept below `var/`, under the hash of the code and the sizes that it is made of.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.reference_models import write_models
from benchmarks.reference_world import People, write_world
from benchmarks.sourcing import PROGRAM
from benchmarks.sourcing_world import NOW_MS, Size
from bundles import layout
from bundles.store import BundleStore
from cli.progress import Steps
from features.dense import FINGERPRINT
from features.item_table import ItemTable
from training.recipes import default

ROOT = Path(__file__).parents[1]
FULL = Size(users=4_000)
QUICK = Size(accounts=5_000, media=50_000, clusters=100, users=400)
CANDIDATES = 500
_MADE = "made.json"
_WORLD_CODE = (
    "benchmarks/reference_world.py",
    "benchmarks/sourcing_world.py",
    "features/item_table.py",
    "training/sourcing",
)
_MODEL_CODE = ("benchmarks/reference_models.py", "features", "training/models", "training/export.py", "bundles")


@dataclass(frozen=True)
class Reference:
    """The bundle that serves, its program, and who asks."""

    bundle_root: Path
    version: str
    igql_file: Path
    people: People
    size: Size


def make_reference(size: Size, cache: Path, steps: Steps) -> Reference:
    """The reference job of that size, made where `cache` lacks it."""
    world = cache / f"world-{_hash(_WORLD_CODE, size)}"
    if not (world / _MADE).exists():  # written last: a build that was cut short is made again
        shutil.rmtree(world, ignore_errors=True)
        world.mkdir(parents=True)
        threads = torch.get_num_threads()
        torch.set_num_threads(os.cpu_count() or 1)
        write_world(replace(size, users=0), world, steps)
        torch.set_num_threads(threads)
        (world / _MADE).write_text("{}", encoding="utf-8")
    people = People.of(ItemTable.open(world / layout.ITEMS), np.load(world / "cluster_U.npy"), size.users)
    root = cache / f"bundles-{_hash((*_WORLD_CODE, *_MODEL_CODE), size)}"
    store = BundleStore(root)
    if not (root / _MADE).exists():
        _publish(store, world, people, steps)
        (root / _MADE).write_text("{}", encoding="utf-8")
    query = root / "job.igql"
    query.write_text(PROGRAM, encoding="utf-8")
    return Reference(root, store.active_version(), query, people, size)


def _publish(store: BundleStore, world: Path, people: People, steps: Steps) -> None:
    recipe = default()
    with store.stage() as staged:
        for file in _files([world]):
            if file.relative_to(world).parts[0] not in (_MADE, "cluster_U.npy"):
                target = staged / file.relative_to(world)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        tasks = write_models(recipe, people, staged, steps)
        with steps.step("publishing"):
            manifest = store.publish(
                staged,
                parent=None,
                dataset="reference",
                as_of_ms=NOW_MS,
                training_window_start_ms=0,
                training_window_end_ms=NOW_MS,
                schema_fingerprint=FINGERPRINT,
                tasks=tasks,
                value_weights={name: dict(table) for name, table in recipe.value_weights.items()},
                metrics={},
                library_versions={},
                command="python -m benchmarks.cascade",
            )
    store.activate(manifest.version)


def _hash(code: Iterable[str], size: Size) -> str:
    """Of the sizes, of the recipe, and of every line of code that decides what is made."""
    digest = hashlib.sha256(json.dumps(asdict(replace(size, users=0))).encode() + repr(default()).encode())
    for file in _files([ROOT / each for each in code]):
        if file.suffix == ".py":
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _files(paths: Iterable[Path]) -> list[Path]:
    found = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sorted(file for file in found if file.is_file())

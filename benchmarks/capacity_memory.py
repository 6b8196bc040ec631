"""Memory per million media of each service. Rankers and the gateway are started on a bundle, and on one with many times its media.

Counts private memory, and the size of every file of the bundle that is mapped: in time all of it may be resident. What retrieval
holds per media comes from `benchmarks.sourcing`, which has a world of a million of them.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.report import RESULTS
from benchmarks.swap_bundles import copy
from bundles import layout
from bundles.store import BundleStore
from cli import processes, stack
from cli.processes import Process
from cli.stack import STOP_GRACE_S, StackPlan
from features.item_features import save_items
from features.item_table import ItemTable

RETRIEVAL, RANKERS = "retrieval_svc", ("prerank_svc", "rank_svc", "rerank_svc", "gateway")
_MB = 1e6


def measured_memory(plan: StackPlan, scratch: Path, media: int) -> dict[str, dict[str, float]]:
    """By service: `fixed_mb` whatever there is, `mb_per_million` media. The larger bundle has about `media` of them.

    `plan` names a bundle root and a Valkey that runs.
    """
    root = scratch / "bundles"
    shutil.copytree(plan.bundle_root, root)
    store = BundleStore(root)
    version = store.active_version()
    few = len(ItemTable.open(root / version / layout.ITEMS).media_id_M)
    times = max(-(-media // few), 2)
    per_million = _sourced_mb_per_million()
    small = _taken(plan, (RETRIEVAL, *RANKERS), root, scratch / "small")
    store.activate(copy(store, version, lambda staged: _grow(staged, times)).version)
    large = _taken(plan, RANKERS, root, scratch / "large")
    lines = {name: _line(small[name], large[name], few, few * times) for name in RANKERS}
    fixed_mb = max(small[RETRIEVAL] - per_million * few / 1e6, 0.0)
    return {RETRIEVAL: {"fixed_mb": fixed_mb, "mb_per_million": per_million}, **lines}


def _sourced_mb_per_million() -> float:
    """What opening and serving takes, by the results of benchmarks.sourcing; its index counts as if all of it were visited."""
    try:
        figures = json.loads((RESULTS / "sourcing.json").read_text("utf-8"))["figures"]
    except FileNotFoundError:
        raise SystemExit("there is no benchmarks/results/sourcing.json: run `python -m benchmarks.sourcing`") from None
    return float((figures["memory"]["total_mb"] + figures["memory"]["index_mb"]) / figures["size"]["media"] * 1e6)


def _line(small_mb: float, large_mb: float, few: int, many: int) -> dict[str, float]:
    per_media = (large_mb - small_mb) / (many - few)
    return {"fixed_mb": small_mb - per_media * few, "mb_per_million": per_media * 1e6, "media": float(many)}


def _grow(staged: Path, times: int) -> None:
    """Every media item as often as that, under new ids. Lists of rows stay as they are: rankers do not read them."""
    items = ItemTable.open(staged / layout.ITEMS)
    few = len(items.media_id_M)
    span = int(items.media_id_M.max()) + 1
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(items, name)] * times)
        for name in vars(items)
        if name.endswith(("_M", "_MA", "_MD"))
    }
    columns["media_id_M"] += np.repeat(np.arange(times, dtype=np.int64) * span, few)
    save_items(replace(items, **columns), staged / "grown")  # beside the files that are mapped
    shutil.rmtree(staged / layout.ITEMS)
    (staged / "grown").rename(staged / layout.ITEMS)
    embeddings = staged / layout.RERANK_EMBEDDINGS / "media.npy"
    np.save(embeddings, np.concatenate([np.load(embeddings)] * times), allow_pickle=False)


def _taken(plan: StackPlan, services: tuple[str, ...], root: Path, logs: Path) -> dict[str, float]:
    """Megabytes of services that hold the active bundle of `root`. RuntimeError if one refuses it, and so holds the one before."""
    active = root / BundleStore(root).active_version()
    ports, started = stack.Ports.free(), list[Process]()
    try:
        for name in services:
            settings = {"EXPLORE_BUNDLE_ROOT": str(root), "EXPLORE_LISTEN": ports.address(name)}
            started.append(stack.launch(name, logs / f"{name}.log", plan.environment(name) | settings))
        for process in started:
            stack.wait_ready(process, ports.address(process.name))
            if not _mapped_mb(process.pid, active):
                raise RuntimeError(f"{process.name} does not hold {active.name}:\n{processes.last_lines(process)}")
        return {each.name: _private_mb(each.pid) + _mapped_mb(each.pid, root) for each in started}
    finally:
        processes.stop(started, STOP_GRACE_S)


def _private_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024 / _MB


def _mapped_mb(pid: int, root: Path) -> float:
    """Sizes of the files below `root` that the process maps."""
    lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
    paths = {
        words[5] for line in lines if len(words := line.split(maxsplit=5)) == 6 and words[5].startswith(f"{root}/")
    }
    return sum(os.stat(path).st_size for path in paths) / _MB

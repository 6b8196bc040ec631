"""What benchmarks of the running product share: a home with a trained bundle, and a stack that serves it until the block ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli import stack as stacks
from cli.commands.data import WorldSize, make_simulated
from cli.commands.stack import active_manifest, stack_plan, users_of
from cli.commands.train import train_bundle
from cli.stack import Ports, RunningStack
from cli.workspace import Workspace


def trained_home(home: Path | None, scratch: Path) -> Workspace:
    """The workspace at `home`, which has an active bundle; without one a tiny world in `scratch`, trained now."""
    if home is not None:
        return Workspace(home)
    workspace = Workspace(scratch / "home")
    make_simulated(workspace, WorldSize.TINY, 1, "simulated")
    train_bundle(workspace, workspace.current_dataset(), "tiny", 1, activate=True)
    return workspace


@contextmanager
def running_stack(workspace: Workspace, scratch: Path, **changes: Any) -> Iterator[RunningStack]:
    """All processes on free ports, with logs and user state in `scratch`. `changes` are fields of `cli.stack.Plan`."""
    manifest = active_manifest(workspace)
    own = {"run": scratch / "run", "user_state": scratch / "valkey", "funnel_log": None} | changes
    plan = replace(stack_plan(workspace, manifest, Ports.free()), **own)
    running = stacks.start(plan, users_of(workspace.dataset(manifest.dataset)), lambda _: None)
    try:
        yield running
    finally:
        stacks.stop(running, plan.run)

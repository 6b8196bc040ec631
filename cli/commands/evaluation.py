"""`explore eval`: served pages by the truth of a synthetic world, or published bundles on the end of any data set."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from cli import stack as stacks
from cli.commands.feed import ask
from cli.commands.stack import active_manifest, stack_plan, users_of
from cli.console import wide_console
from cli.errors import CommandError
from cli.gateway_access import Gateway
from cli.limits import MAX_HOURS, MAX_SEED
from cli.progress import steps
from cli.stack import Ports
from cli.workspace import Workspace
from protos.explore.v1.feed_pb2 import GetFeedRequest


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(name="eval")(evaluate)


def evaluate(
    context: typer.Context,
    users: Annotated[int, typer.Option(help="How many users to ask pages for, or to measure funnels on.", min=2)] = 500,
    seed: Annotated[int, typer.Option(help="Which users, and the random pages.", min=0, max=MAX_SEED)] = 0,
    bundle: Annotated[
        str | None,
        typer.Option(
            help='Judge this bundle on a data set: "active", "previous", or the beginning of a version or hash.'
        ),
    ] = None,
    against: Annotated[str | None, typer.Option(help="A second bundle, judged on the same impressions.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data set to judge on; the one in use if left out.")] = None,
    test_hours: Annotated[
        float, typer.Option(help="How much of its end is the test window.", min=0.1, max=MAX_HOURS)
    ] = 24.0,
    json_: Annotated[bool, typer.Option("--json", help="Figures for programs.")] = False,
) -> None:
    """Serve pages from the active bundle and value them by the truth of the synthetic world.

    Starts a stack of its own on free ports, so that a running one keeps its users' state. It runs without HOME/experiments.yaml:
    the figures are those of the active bundle, not of whatever arms send their users to.

    With --bundle or --against nothing is served: published bundles are judged on the impressions at the end of any data set, real
    ones too, per task and with intervals over resampled users. Two are compared on the same impressions and the same draws of
    users. The window must begin after the bundles' training ended; in the hours after that they were calibrated.
    """
    workspace: Workspace = context.obj
    if bundle is not None or against is not None:
        names = [bundle or "active", *([against] if against is not None else [])]
        _judge(workspace, names, data or workspace.current_dataset(), test_hours, users, json_)
        return
    figures = compare(workspace, users, seed)
    if json_:
        typer.echo(json.dumps(figures))
        return
    wide_console().print(comparison_table(figures))


def _judge(workspace: Workspace, names: list[str], data: Path, hours: float, users: int, as_json: bool) -> None:
    from cli.judging import judge_bundles
    from cli.judging_tables import judgement_tables

    with steps() as progress:
        figures, _ = judge_bundles(workspace, names, data, hours, users, progress)
    if as_json:
        typer.echo(json.dumps(figures))
        return
    wide_console().print(judgement_tables(figures), highlight=False)


def comparison_table(figures: dict[str, Any]) -> Table:
    """The strategies, what an item of their pages is worth, and how far the cascade is ahead."""
    title = f"True value per item, {figures['users']} users (95 % intervals)"
    table = Table(title=title, box=box.SIMPLE_HEAD, caption=f"bundle {figures['bundle']}")
    for column in ("page", "value per item", "cascade minus page", "cascade / page"):
        table.add_column(column, justify="left" if column == "page" else "right")
    for row in figures["pages"]:
        table.add_row(row["page"], *(_text(row[key]) for key in ("value", "difference", "ratio")))
    return table


def compare(workspace: Workspace, n_users: int, seed: int) -> dict[str, Any]:
    """The figures of `explore eval` as plain JSON. Raises CommandError for a data set that is gone or has no ground truth."""
    from cli import quality
    from training.datasets import load
    from training.datasets.simulate import World

    manifest = active_manifest(workspace)
    root = workspace.held_dataset(manifest.dataset)
    if not (root / "truth").is_dir():
        raise CommandError(
            f"data set {manifest.dataset!r} has no ground truth",
            "only `explore simulate` knows what users would have done",
        )
    dataset, world = load(root), World.load(root)
    weights = manifest.value_weights["default"]
    with tempfile.TemporaryDirectory(prefix="explore-eval-") as scratch, steps() as progress:
        plan = replace(
            stack_plan(workspace, manifest, Ports.free()),
            run=Path(scratch) / "run",
            user_state=Path(scratch) / "valkey",
            clock="data",
            funnel_log=None,
            experiments_file=None,
        )
        with progress.step("starting a stack"):
            stack = stacks.start(plan, users_of(root), lambda _: None)
        try:
            pages = quality.TruePages(dataset, world, weights, n_users, seed)
            address = stack.ports.address("gateway")
            with progress.step("asking for pages") as report:
                served = quality.fetch_pages(lambda user: _media(address, user), pages.user_ids, report)
        finally:
            stacks.stop(stack, plan.run)
        size = max(len(page) for page in served)
        with progress.step("valuing pages by the truth"):
            cascade = pages.served("cascade", served)
            others = [pages.popular(size), pages.random(size)]
    rows = [{"page": cascade.name, "value": asdict(quality.interval(cascade)), "difference": None, "ratio": None}]
    rows += [
        {"page": other.name, "value": asdict(quality.interval(other)), **asdict(quality.lead(cascade, other, seed))}
        for other in others
    ]
    return {"users": len(pages.user_ids), "seed": seed, "bundle": manifest.version, "page_size": size, "pages": rows}


def _media(address: str, user: str) -> list[int]:
    response = ask(Gateway(address), GetFeedRequest(user_id=user))
    if response.degradations:
        raise CommandError(
            f"page of user {user} is degraded: {response.degradations[0].detail}",
            "a degraded page says nothing about the models",
        )
    return [item.media_id for item in response.items]


def _text(interval: dict[str, float] | None) -> str:
    return "" if interval is None else f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"

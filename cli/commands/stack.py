"""Commands that run the stack on this machine: `up`, `down`, `status`, and `quickstart`, which is `make up`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from valkey import Valkey

from bundles.manifest import Manifest
from cli import stack as stacks
from cli.commands import data, feed, train
from cli.console import wide_console
from cli.errors import CommandError, StackError
from cli.processes import last_lines
from cli.progress import steps
from cli.stack import SERVICES, Ports, RunningStack, StackPlan
from cli.workspace import Workspace

_DAY_MS = 86_400_000
_STALE_MS = 2 * _DAY_MS  # a log that ended longer ago is served on its own clock
_LOOK_UP_S = 1.0
_WATCHED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}

User = Annotated[str, typer.Option(help="User whose page is shown once everything runs.")]
PortBase = Annotated[
    int, typer.Option(help="First of six consecutive ports: gateway, stages, Valkey.", min=1024, max=65000)
]
Shards = Annotated[
    int,
    typer.Option(
        help="Processes among which retrieval divides the accounts; those beyond one take the ports after the six.",
        min=1,
        max=16,
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Return once every service is ready; `explore down` ends it.")]


Colocate = Annotated[
    str,
    typer.Option(
        help="Services that share one process: names with commas between, such as prerank,rank,rerank, or all."
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(up)
    app.command()(down)
    app.command()(status)
    app.command()(quickstart)


def quickstart(context: typer.Context, user: User = "42") -> None:
    """Make what is missing (data, trained bundle), then `up`. A second time it reuses what is there."""
    workspace: Workspace = context.obj
    try:
        workspace.current_dataset()
    except CommandError:
        data.make_simulated(workspace, data.WorldSize.DEFAULT, None, "simulated")
    if not train.is_trained(workspace):
        train.train_bundle(workspace, workspace.current_dataset(), "default", None, activate=True)
    _up(workspace, user, Ports(), detach=False)


def up(
    context: typer.Context,
    user: User = "42",
    port_base: PortBase = Ports.gateway,
    detach: Detach = False,
    retrieval_shards: Shards = 1,
    colocate: Colocate = "",
) -> None:
    """Start Valkey and the five services, and show a page."""
    ports = Ports.from_base(port_base, retrieval_shards)
    _up(context.obj, user, ports, detach, colocated_services(colocate))


def down(context: typer.Context) -> None:
    """End the running stack."""
    workspace: Workspace = context.obj
    stack = RunningStack.find(workspace.run)
    if stack is None:
        Console().print("nothing is running")
        return
    _end(stack, workspace)


def status(context: typer.Context) -> None:
    """Show the processes, their health, and what they serve from. Exit status 1 unless everything is ready."""
    workspace: Workspace = context.obj
    stack = RunningStack.find(workspace.run)
    if stack is None:
        raise CommandError("nothing is running", "`explore up` starts the stack")
    table = Table(title=f"Stack on data set {stack.dataset!r}", box=box.SIMPLE_HEAD)
    for column in ("process", "pid", "address", "health", "bundle", "note"):
        table.add_column(column)
    rows = [stacks.describe(process, stack.ports) for process in stack.processes]
    for row in rows:
        colour = "green" if row.healthy else "red"
        table.add_row(row.name, str(row.pid), row.address, f"[{colour}]{row.health}", row.bundle, Text(row.note))
    wide_console().print(table)
    if not all(row.healthy for row in rows):
        raise typer.Exit(1)


def colocated_services(written: str) -> tuple[str, ...]:
    """The services that share a process, in the order in which they start. Raises CommandError naming what is none."""
    names = [name.strip() for name in written.split(",")] if written else []
    short = {service.removesuffix("_svc"): service for service in SERVICES}
    if names == ["all"]:
        return SERVICES
    wrong = [name for name in names if name not in short and name not in SERVICES]
    if wrong:
        raise CommandError(f"--colocate: there is no service {wrong[0]!r}", f"name some of {', '.join(short)}, or all")
    return tuple(service for name, service in short.items() if name in names or service in names)


def _up(workspace: Workspace, user: str, ports: Ports, detach: bool, colocated: tuple[str, ...] = ()) -> None:
    if RunningStack.find(workspace.run) is not None:
        raise StackError("a stack of this workspace runs already", "`explore status` shows it, `explore down` ends it")
    stack = start_stack(workspace, ports, colocated)
    try:
        feed.show_page(stack.ports.address("gateway"), user)
        if detach:
            Console().print("everything is ready; `explore feed --user ID` asks for pages, `explore down` ends it")
            return
        with suppress(KeyboardInterrupt):  # where a thread of gRPC took the Ctrl-C before `_watch` could
            _watch(stack)
    except BaseException:
        _end(stack, workspace)
        raise
    _end(stack, workspace)


def start_stack(workspace: Workspace, ports: Ports, colocated: tuple[str, ...] = ()) -> RunningStack:
    """Starts the stack on the active bundle, some services together in one process. Raises CommandError without it or its users."""
    from cli.experiment_tables import checked

    manifest = active_manifest(workspace)
    checked(
        workspace, workspace.experiments_file
    )  # a gateway would start, and let the arms fall back that it cannot serve
    users = users_of(workspace.held_dataset(manifest.dataset))
    plan = replace(stack_plan(workspace, manifest, ports), colocated=colocated)
    console = Console(stderr=True, soft_wrap=True)
    stack = stacks.start(plan, users, console.print)
    console.print(
        f"candidates are sourced by {plan.igql_file}; a change of it holds from the next page on", markup=False
    )
    return stack


def stack_plan(workspace: Workspace, manifest: Manifest, ports: Ports) -> StackPlan:
    """What a stack of this workspace consists of."""
    return StackPlan(
        bundle_root=workspace.bundles().root,
        user_state=workspace.user_state(manifest.dataset),
        run=workspace.run,
        ports=ports,
        dataset=manifest.dataset,
        clock=clock_for(manifest),
        igql_file=workspace.query_file(),
        takedown_file=workspace.takedown_file,
        query_directory=workspace.queries,
        experiments_file=workspace.experiments_file,
        funnel_log=workspace.funnel,
    )


def users_of(data: Path) -> Callable[[Valkey], None]:
    """Fills a Valkey with the users of a data set, with a progress bar."""

    def load_users(client: Valkey) -> None:
        from cli import backfill

        with steps() as progress, progress.step("loading user state") as report:
            backfill.load_users(client, data, report)

    return load_users


def active_manifest(workspace: Workspace) -> Manifest:
    """The manifest of the bundle that serves. Raises CommandError if none is published."""
    store = workspace.bundles()
    version = store.current_version()
    if version is None:
        raise CommandError(f"no bundle is published in {store.root}", "run `explore train`")
    return store.manifest(version)


def clock_for(manifest: Manifest) -> str:
    """A log of these days runs on the time of day, an old one on its own (docs/decisions/0004)."""
    return "data" if time.time() * 1000 - manifest.as_of_ms > _STALE_MS else "wall"


def _watch(stack: RunningStack) -> None:
    """Returns on Ctrl-C; raises StackError when a process ends by itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)  # from here on a Ctrl-C waits for sigwait
    try:
        Console().print("everything is ready; Ctrl-C ends it")
        while _no_word_to_stop():
            for process in stack.ended():
                raise StackError(f"{process.name} ended; the end of {process.log}:", last_lines(process))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _no_word_to_stop() -> bool:
    """Waits for the next signal, False if it is one to stop. Looks up now and then: threads of gRPC may take a signal first."""
    found = signal.sigtimedwait(_WATCHED, _LOOK_UP_S)
    return found is None or found.si_signo == signal.SIGCHLD


def _end(stack: RunningStack, workspace: Workspace) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of the processes behind
    for process in stacks.stop(stack, workspace.run):
        Console(stderr=True).print(f"{process.name} did not end by itself and was killed", style="yellow")
    Console().print("everything has ended")

"""The processes that benchmarks/faults.py kills: a stack with a second gateway, each of them to be started again by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from valkey import Valkey

from cli import processes
from cli import stack as stacks
from cli.commands.stack import active_manifest, stack_plan, users_of
from cli.processes import Process
from cli.stack import VALKEY, Ports, StackPlan
from cli.workspace import Workspace

GATEWAYS = ("gateway", "second gateway")
_GRACE_S = 10.0


@dataclass
class Fleet:
    """The running processes by name. Names of services are those of `cli.stack`."""

    plan: StackPlan
    processes: dict[str, Process]
    addresses: dict[str, str]

    @property
    def gateway_target(self) -> str:
        """Both gateways, as gRPC takes a list of addresses."""
        return "ipv4:" + ",".join(self.addresses[name] for name in GATEWAYS)

    def bury(self, name: str) -> None:
        """Returns once a process that was killed is gone."""
        processes.stop([self.processes[name]], _GRACE_S)

    def restart(self, name: str) -> None:
        """Starts a process again on the address that it had; returns when it serves."""
        if name == VALKEY:
            log = self.plan.run / "logs" / "valkey.log"
            self.processes[name] = stacks.start_valkey(self.plan.user_state, self.plan.ports.valkey, log)
            with Valkey.from_url(self.plan.ports.valkey_url) as client:
                stacks.wait_for_valkey(client, self.processes[name])
            return
        self.processes[name] = self._launch(name)
        stacks.wait_ready(self.processes[name], self.addresses[name])

    def start_second_gateway(self) -> None:
        """Beside the gateway of the stack."""
        self.addresses[GATEWAYS[1]] = f"127.0.0.1:{Ports.free().gateway}"
        self.restart(GATEWAYS[1])

    def stop(self) -> None:
        """Ends everything that still runs."""
        processes.stop([self.processes[name] for name in self.processes if name != VALKEY], _GRACE_S)
        processes.stop([self.processes[VALKEY]], _GRACE_S)

    def _launch(self, name: str) -> Process:
        service = GATEWAYS[0] if name in GATEWAYS else name
        settings = self.plan.environment(service) | {"EXPLORE_LISTEN": self.addresses[name]}
        return stacks.launch(service, self.plan.run / "logs" / f"{name.replace(' ', '_')}.log", settings)


@contextmanager
def started(workspace: Workspace, scratch: Path) -> Iterator[Fleet]:
    """A stack of the workspace's active bundle on free ports, ended with the block."""
    plan = stack_plan(workspace, active_manifest(workspace), Ports.free())
    plan = replace(plan, run=scratch / "run", user_state=scratch / "valkey", funnel_log=None)
    running = stacks.start(plan, users_of(workspace.current_dataset()), lambda _: None)
    names = {process.name: process for process in running.processes}
    fleet = Fleet(plan, names, {name: plan.ports.address(name) for name in names})
    try:
        fleet.start_second_gateway()
        yield fleet
    finally:
        fleet.stop()

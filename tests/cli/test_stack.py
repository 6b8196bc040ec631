"""What a stack is made of, and how its processes are described."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner
from valkey import Valkey

from cli import main, processes
from cli.commands.stack import colocated_services, stack_plan
from cli.errors import CommandError
from cli.processes import Process
from cli.stack import (
    SERVICES,
    STAGE_NICENESS,
    Ports,
    RunningStack,
    StackPlan,
    describe,
    launch,
    launch_together,
    start,
    start_valkey,
    started_at_ms,
    wait_for_valkey,
)
from cli.workspace import Workspace
from colocated.__main__ import Neighbours, parts_of
from colocated.config import ColocatedConfig
from serving.config import ServiceConfig, load
from serving.server import ServerHandle, Service
from serving.telemetry import NoTelemetry
from tests.bundles.conftest import fields
from tests.retrieval_svc.published import publish


@pytest.fixture
def plan(tmp_path: Path) -> StackPlan:
    workspace = Workspace(tmp_path)
    return stack_plan(workspace, publish(tmp_path / "bundles").manifest, Ports())


def _query_of(plan: StackPlan) -> dict[str, str | None]:
    return {service: plan.environment(service).get("EXPLORE_IGQL_FILE") for service in SERVICES}


def test_only_sourcing_is_told_the_workspaces_query_file(plan: StackPlan, tmp_path: Path) -> None:
    others = dict.fromkeys(SERVICES[1:])
    assert _query_of(plan) == {"retrieval_svc": str(tmp_path / "sourcing.igql"), **others}
    assert (tmp_path / "sourcing.igql").is_file()


def test_settings_of_a_stack_name_another_query_file(plan: StackPlan) -> None:
    assert _query_of(replace(plan, settings={"IGQL_FILE": "x.igql"}))["retrieval_svc"] == "x.igql"


def test_sourcing_is_told_of_named_queries_and_the_gateway_of_experiments(plan: StackPlan, tmp_path: Path) -> None:
    told = {
        (service, name.removeprefix("EXPLORE_")): value
        for service in SERVICES
        for name, value in plan.environment(service).items()
        if name in {"EXPLORE_EXPERIMENTS", "EXPLORE_IGQL_DIRECTORY"}
    }
    assert told == {
        ("gateway", "EXPERIMENTS"): str(tmp_path / "experiments.yaml"),
        ("retrieval_svc", "IGQL_DIRECTORY"): str(tmp_path / "queries"),
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", ()),
        ("all", SERVICES),
        ("rerank, prerank", ("prerank_svc", "rerank_svc")),
        ("gateway,rank_svc", ("rank_svc", "gateway")),
    ],
)
def test_services_that_share_a_process_are_named_in_any_order(written: str, expected: tuple[str, ...]) -> None:
    assert colocated_services(written) == expected


@pytest.mark.parametrize("command", [["up"], ["eval"], ["load-users", "--valkey", "redis://127.0.0.1:1/0"]])
def test_a_bundle_whose_data_set_is_gone_is_refused_by_name(command: list[str], tmp_path: Path) -> None:
    store = Workspace(tmp_path).bundles()
    with store.stage() as staged:
        (staged / "table").write_text("one")
        store.activate(store.publish(staged, **fields()).version)
    done = CliRunner().invoke(main.build(), ["--home", str(tmp_path), *command])
    assert isinstance(done.exception, CommandError), done.exception
    assert "data set 'synthetic' is not there" in str(done.exception)


@pytest.mark.parametrize("written", ["ranker", "rank,,rerank", "all,rank", "valkey"])
def test_a_service_that_is_none_is_named(written: str) -> None:
    with pytest.raises(CommandError, match="--colocate: there is no service"):
        colocated_services(written)


def test_services_that_share_a_process_are_told_where_each_of_them_listens(
    plan: StackPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, dict[str, str]]] = []

    def launched(service: str, log: Path, settings: dict[str, str], serves: Sequence[str]) -> Process:
        started.append((service, settings))
        return Process(service, 7, 1, str(log))

    monkeypatch.setattr("cli.stack.launch", launched)
    made = launch_together(replace(plan, colocated=("rank_svc", "gateway")))
    assert [(process.name, process.pid) for process in made] == [("rank_svc", 7), ("gateway", 7)]
    ((module, settings),) = started
    assert module == "colocated"
    with monkeypatch.context() as environment:
        for name, value in settings.items():
            environment.setenv(name, value)
        config = load(ColocatedConfig)
        assert config.listen == {service: plan.ports.address(service) for service in ("rank_svc", "gateway")}
        (rank, _), (gateway, _) = parts_of(config, Neighbours())
    assert gateway.rank_address == rank.listen
    assert gateway.state_url == plan.ports.valkey_url


@pytest.mark.parametrize(
    ("process", "serves", "niceness"),
    [
        ("gateway", (), 0),
        ("rank_svc", (), STAGE_NICENESS),
        ("retrieval_svc-1", (), STAGE_NICENESS),
        ("colocated", ("rank_svc", "gateway"), 0),
        ("colocated", ("rank_svc", "prerank_svc"), STAGE_NICENESS),
    ],
)
def test_whoever_refuses_what_is_too_much_goes_before_those_who_work_off_the_rest(
    process: str, serves: tuple[str, ...], niceness: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    def started(
        name: str,
        command: Sequence[str],
        log: Path,
        settings: Mapping[str, str],
        nice: int,
        defaults: Mapping[str, str],
    ) -> Process:
        given.append(nice)
        return Process(name, 7, 1, str(log))

    monkeypatch.setattr(processes, "start", started)
    launch(process, tmp_path / "log", {}, serves)
    assert given == [niceness]


def test_only_the_gateway_is_told_where_the_funnel_log_is(plan: StackPlan, tmp_path: Path) -> None:
    told = {service: plan.environment(service).get("EXPLORE_FUNNEL_LOG") for service in SERVICES}
    assert told == {**dict.fromkeys(SERVICES), "gateway": str(tmp_path / "funnel")}
    assert "EXPLORE_FUNNEL_LOG" not in replace(plan, funnel_log=None).environment("gateway")


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, None),
        ([], {"EXPLORE_IGQL_FILE": "of_environment.igql"}, Path("of_environment.igql")),
        (["--igql", "named.igql"], {"EXPLORE_IGQL_FILE": "of_environment.igql"}, Path("named.igql")),
    ],
)
def test_the_environment_may_name_the_query_file(
    arguments: list[str],
    environment: dict[str, str | None],
    expected: Path | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Workspace] = []
    monkeypatch.setattr("cli.commands.data.make_simulated", lambda workspace, *_: made.append(workspace))
    command = ["--home", str(tmp_path), *arguments, "simulate"]
    done = CliRunner().invoke(main.build(), command, env={"EXPLORE_IGQL_FILE": None, **environment})
    assert (done.exit_code, made) == (0, [Workspace(tmp_path, expected)])


async def test_what_a_ready_service_has_to_say_stands_behind_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "alive", lambda self: True)
    notes = iter(["", "the query file is refused: mine.igql:1:1"])
    config = ServiceConfig(listen="127.0.0.1:0", drain_s=0.01)
    server = ServerHandle(config, Service((), lambda _: None, note=lambda: next(notes, "")), NoTelemetry())
    await server.start()
    await server.ready.wait()
    process, ports = Process("retrieval_svc", 1, 1, "log"), replace(Ports(), retrieval_svc=server.port)
    silent, refusing = [await asyncio.to_thread(describe, process, ports) for _ in range(2)]
    started = await asyncio.to_thread(started_at_ms, f"127.0.0.1:{server.port}")
    await server.stop()
    assert (silent.healthy, refusing.healthy) == (True, True)
    assert refusing.note == f"{silent.note}; the query file is refused: mine.igql:1:1"
    assert started
    assert await asyncio.to_thread(started_at_ms, "127.0.0.1:1") is None


def test_a_valkey_that_hangs_is_said_to_be_unreachable_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    ports = Ports.free()
    process = start_valkey(tmp_path / "state", ports.valkey, tmp_path / "log")
    try:
        with Valkey.from_url(ports.valkey_url) as client:
            wait_for_valkey(client, process)
        assert describe(process, ports).health == "SERVING"
        os.kill(process.pid, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as asking:
            asked = asking.submit(describe, process, ports)
            try:
                told = asked.result(timeout=4)  # the client's own patience is 5 s
            finally:
                os.kill(process.pid, signal.SIGCONT)  # whoever still waits is answered
        assert (told.healthy, told.health) == (False, "UNREACHABLE")
        assert told.note
    finally:
        processes.stop([process], 5.0)


def test_further_shards_of_retrieval_get_ports_of_their_own_and_the_gateway_all_of_them(plan: StackPlan) -> None:
    plan = replace(plan, ports=Ports.from_base(41_000, retrieval_shards=3))
    assert plan.ports.services[:4] == ("retrieval_svc", "retrieval_svc-1", "retrieval_svc-2", "prerank_svc")
    told = [plan.environment(name) for name in plan.ports.retrieval]
    assert [each["EXPLORE_SHARD_INDEX"] for each in told] == ["0", "1", "2"]
    assert {each["EXPLORE_SHARD_COUNT"] for each in told} == {"3"}
    addresses = ["127.0.0.1:41001", "127.0.0.1:41006", "127.0.0.1:41007"]
    assert [each["EXPLORE_LISTEN"] for each in told] == addresses
    assert len({each["EXPLORE_IGQL_FILE"] for each in told}) == 1
    assert plan.environment("gateway")["EXPLORE_RETRIEVAL_ADDRESS"] == ";".join(addresses)


def test_without_further_shards_nobody_hears_of_any(plan: StackPlan) -> None:
    assert plan.ports.services == SERVICES
    assert not any("SHARD" in name for service in SERVICES for name in plan.environment(service))


def test_a_stack_in_shards_is_found_again(tmp_path: Path) -> None:
    own = processes.start("retrieval_svc-1", ["/bin/sleep", "60"], tmp_path / "log", {})
    try:
        stack = RunningStack(Ports.from_base(41_000, 2), (own,), "data", "wall")
        stack.save(tmp_path)
        assert RunningStack.find(tmp_path) == stack
        file = tmp_path / "stack.json"
        older = {name: value for name, value in json.loads(file.read_text()).items() if name != "clock"}
        file.write_text(json.dumps(older))
        assert RunningStack.find(tmp_path) == replace(stack, clock="")
    finally:
        processes.stop([own], 5.0)


def test_a_stack_remembers_the_clock_that_it_was_started_with(plan: StackPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    own = processes.start("gateway", ["/bin/sleep", "60"], plan.run / "log", {})
    for name in ("start_valkey", "launch"):
        monkeypatch.setattr(f"cli.stack.{name}", lambda *_: own)
    for name in ("_require_free", "wait_for_valkey", "wait_ready"):
        monkeypatch.setattr(f"cli.stack.{name}", lambda *_: None)
    try:
        for clock in ("wall", "data"):
            start(replace(plan, clock=clock), lambda _: None, lambda _: None)
            found = RunningStack.find(plan.run)
            assert found is not None
            assert found.clock == clock
    finally:
        processes.stop([own], 5.0)

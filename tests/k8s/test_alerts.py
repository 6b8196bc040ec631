"""What the alerts say of series that were made up: who is told of what, and of which namespace."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from gateway.feed import Reason
from tests.k8s.manifests import ROOT, overlay
from tests.k8s.test_monitoring import dashboard, every_rule, rules

FEED = 'method="/explore.v1.ExploreService/GetFeed"'
JOBS = ("gateway", "retrieval", "prerank", "rank", "rerank")
_AGGREGATION = re.compile(r"\b(?:sum|min|max|avg|count|group)\b\s*(by\s*\(namespace\b)?")
_KUBECTL = re.compile(r"kubectl -n (\{\{.*?\}\}) (get|logs)(?: -l ('[^']*'|\S+))?(?: (-c server|--all-containers))?")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)"
)


def firing(series: Mapping[str, str], at: str, directory: Path, expected: set[str]) -> None:
    """Has promtool evaluate all rules on made-up series, a value a minute, and compares the alerts that then fire."""
    (directory / "rules.yaml").write_text(yaml.safe_dump(rules()))
    asked = 'group by (alertname, namespace, job, stage) (ALERTS{alertstate="firing"})'
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": asked, "eval_time": at, "exp_samples": [{"labels": each, "value": 1} for each in expected]}
        ],
    }
    file = directory / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def seen(namespace: str, jobs: tuple[str, ...] = JOBS, values: str = "1x120") -> dict[str, str]:
    """Services that are ready, one pod each."""
    return {f'explore_ready{{namespace="{namespace}", job="{job}", pod="{job}-1"}}': values for job in jobs}


def alert(name: str, **labels: str) -> str:
    return "{" + ", ".join(f'{key}="{value}"' for key, value in {"alertname": name, **labels}.items()) + "}"


@needs_promtool
def test_all_is_quiet_while_two_namespaces_serve_from_different_bundles(tmp_path: Path) -> None:
    series = {**seen("production"), **seen("staging")}
    for namespace, version in (("production", "a"), ("staging", "b")):
        for job in JOBS:
            labels = f'namespace="{namespace}", job="{job}", version="{version}", state="current"'
            series[f"explore_bundle_info{{{labels}}}"] = "1x120"
    firing(series, "100m", tmp_path, set())
    odd = 'explore_bundle_info{namespace="staging", job="rank", pod="rank-2", version="a", state="current"}'
    firing({**series, odd: "1x120"}, "100m", tmp_path, {alert("ExploreBundlesDiffer", namespace="staging")})


@needs_promtool
def test_pages_of_staging_do_not_hide_those_that_production_fails(tmp_path: Path) -> None:
    series = {**seen("production"), **seen("staging")}
    for namespace, status, rate in (("production", "OK", 90), ("production", "INTERNAL", 10), ("staging", "OK", 9000)):
        labels = f'namespace="{namespace}", job="gateway", {FEED}, status="{status}"'
        series[f"explore_call_duration_seconds_count{{{labels}}}"] = f"0+{rate}x120"
    burnt = {alert(f"ExploreErrorBudgetBurn{window}", namespace="production") for window in ("1h", "6h")}
    firing(series, "60m", tmp_path, burnt)


@needs_promtool
def test_a_service_that_is_not_seen_any_more_is_told_of(tmp_path: Path) -> None:
    others = tuple(job for job in JOBS if job != "gateway")
    gone = seen("production", ("gateway",), "1x60 _x60")
    both = {**seen("production", others), **gone, **seen("staging")}
    missed = {alert("ExploreServiceGone", namespace="production", job="gateway")}
    firing(both, "60m", tmp_path, set())
    firing(both, "70m", tmp_path, missed)
    fewer = {**seen("production", others), **gone, **seen("staging", ("rank",), "1x60 _x60")}
    firing(fewer, "70m", tmp_path, missed | {alert("ExploreServiceGone", namespace="staging", job="rank")})
    firing({}, "10m", tmp_path, {alert("ExploreServiceGone", job="gateway")})  # nothing was ever scraped


@needs_promtool
def test_a_pod_that_cannot_be_scraped_is_told_of_and_one_of_somebody_else_is_not(tmp_path: Path) -> None:
    up = {
        'up{namespace="production", job="rank", pod="rank-2"}': "0x120",
        'up{namespace="production", job="rank", pod="rank-1"}': "1x120",
        'up{namespace="elsewhere", job="gateway", pod="x"}': "0x120",
    }
    told = {alert("ExploreNotScraped", namespace="production", job="rank")}
    firing({**seen("production"), **up}, "30m", tmp_path, told)


@needs_promtool
def test_a_lost_shard_warns_and_a_lost_stage_pages(tmp_path: Path) -> None:
    """Pages that lack a shard are full."""
    pages = {'explore_pages_total{namespace="production", job="gateway", kind="personal", degraded="yes"}': "0+60x60"}
    lost = 'explore_degradations_total{{namespace="production", job="gateway", stage="{}", reason="{}"}}'
    here = {**seen("production"), **pages}
    degraded = alert("ExplorePagesDegraded", namespace="production")
    shard = {lost.format("retrieval", "partial"): "0+60x60", lost.format("page", "under_delivered"): "0+60x60"}
    told = {alert("ExploreShardLost", namespace="production", stage="retrieval"), degraded}
    firing({**here, **shard}, "40m", tmp_path, told)
    stage = {lost.format("rank", "deadline"): "0+60x60"}
    told = {alert("ExploreStageLost", namespace="production", stage="rank"), degraded}
    firing({**here, **stage}, "40m", tmp_path, told)


def test_every_rule_keeps_namespaces_apart() -> None:
    for rule in every_rule():
        where, expr = rule.get("alert") or rule["record"], rule["expr"]
        assert [found for found in _AGGREGATION.finditer(expr) if not found[1]] == [], where
        for labels in re.findall(r"\bon\s*\(([^)]*)\)", expr):
            assert "namespace" in labels, where


def test_every_query_of_the_dashboard_is_for_the_chosen_namespaces() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            bare = re.sub(
                r"\{[^}]*\}", lambda found: "{chosen}" if '"$namespace"' in found[0] else "{}", target["expr"]
            )
            assert set(re.findall(r"\b(?:explore|process)[_:][a-z0-9_:]+(.{0,8})", bare)) == {"{chosen}"}, panel[
                "title"
            ]


def test_alerts_name_commands_that_work_on_a_cluster() -> None:
    """`explore status` reads a file of the machine that a stack runs on; and a label that selects nothing shows nothing."""
    commands = []
    for rule in every_rule():
        text = rule.get("annotations", {}).get("description", "")
        assert "explore status" not in text
        commands += _KUBECTL.findall(text)
        assert text.count("kubectl") == len(_KUBECTL.findall(text)), text
    pods = overlay("production").servers
    for namespace, _, selector, containers in commands:
        assert "$labels.namespace" in namespace
        if selector and not selector.startswith("'"):
            key, _, value = selector.partition("=")
            values = set(JOBS) if value.startswith("{{") else {value}
            assert values <= {pod.labels[key] for pod in pods}
        if containers == "-c server":
            assert all("server" in [each["name"] for each in pod.containers()] for pod in pods)
    assert len(commands) >= 6


def test_every_reason_of_a_degradation_is_documented() -> None:
    (row,) = re.findall(
        r"^\| `explore_degradations_total` .*$", (ROOT / "docs" / "telemetry.md").read_text(), re.MULTILINE
    )
    assert {reason.name.lower() for reason in Reason} <= set(re.findall(r"\b[a-z_]+\b", row.partition("`reason`")[2]))

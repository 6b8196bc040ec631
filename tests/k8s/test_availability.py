"""Pods come, go, move and multiply without a call being lost: budgets, autoscalers, spread, and how a pod ends."""

from __future__ import annotations

import re

import pytest
import yaml

from gateway.__main__ import EXPLORE
from gateway.config import GatewayConfig
from serving.admission import QUEUED, RUNNING
from serving.config import ServiceConfig
from tests.k8s.manifests import K8S, OVERLAYS, Cluster, Object, Pod, matches, overlay
from tests.k8s.settings import environment, server_of

CLOSING_S = 10  # for what comes after the drain: connections, files, the interpreter
WATCHED_S = 5  # health says NOT_SERVING at once; this is for who only looks names up

SERVERS = [(name, pod) for name in OVERLAYS for pod in overlay(name).servers]
each_server = pytest.mark.parametrize(("name", "pod"), SERVERS, ids=[f"{name}-{pod.name}" for name, pod in SERVERS])


@pytest.fixture
def production() -> Cluster:
    return overlay("production")


@each_server
def test_a_pod_has_the_time_to_end(name: str, pod: Pod) -> None:
    sleep = server_of(pod)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = float(environment(overlay(name), pod)["EXPLORE_DRAIN_S"])
    assert pod.spec["terminationGracePeriodSeconds"] >= sleep + drain + CLOSING_S
    assert sleep >= (15 if pod.service == "gateway" else WATCHED_S)  # clients outside take longer to notice
    assert drain == ServiceConfig.model_fields["drain_s"].default  # a change there is one here, too


@each_server
def test_an_update_takes_nothing_away_before_there_is_more(name: str, pod: Pod) -> None:
    spec = pod.owner["spec"]
    if pod.owner["kind"] == "StatefulSet":
        assert spec["updateStrategy"] == {"type": "RollingUpdate"}  # one at a time, and two replicas at least
        assert spec["serviceName"] in overlay(name).named("Service")
        assert pod in overlay(name).behind(spec["serviceName"])
    else:
        assert spec["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert spec["minReadySeconds"] > 0


def test_every_server_grows_with_its_load(production: Cluster) -> None:
    scaled = {(o["spec"]["scaleTargetRef"]["kind"], o["spec"]["scaleTargetRef"]["name"]): o["spec"] for o in _scalers()}
    assert scaled.keys() == {(pod.owner["kind"], pod.name) for pod in production.servers}
    for spec in scaled.values():
        assert 2 <= spec["minReplicas"] < spec["maxReplicas"]
        resource = spec["metrics"][0]
        assert (resource["type"], resource["resource"]["name"]) == ("Resource", "cpu")
        assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    for pod in production.servers:
        assert "replicas" not in pod.owner["spec"], "applying the overlay again would undo the autoscaler's work"


def test_gateways_grow_with_the_pages_that_run_and_wait_and_stages_by_cpu_alone() -> None:
    """At half of what is let in at least, before pages wait; and a stage has one call under way per gateway, however many come."""
    further = {o["metadata"]["name"]: o["spec"]["metrics"][1:] for o in _scalers()}
    (pods,) = further.pop("gateway")
    assert not any(further.values())
    assert pods["type"] == "Pods"
    assert pods["pods"]["target"]["averageValue"] == str(GatewayConfig.model_fields["limit_floor"].default // 2)
    (rule,) = yaml.safe_load((K8S / "components" / "autoscaling" / "adapter-rules.yaml").read_text())["rules"]["custom"]
    assert rule["name"] == {"as": pods["pods"]["metric"]["name"]}
    read = set(re.findall(r"explore_\w+(?={)", rule["metricsQuery"]))
    assert read == {RUNNING.name, QUEUED.name}
    services = re.findall(r'grpc_service="([^"]*)"', rule["seriesQuery"] + rule["metricsQuery"])
    assert set(services) == {EXPLORE}
    assert {rule["resources"]["overrides"][each]["resource"] for each in ("namespace", "pod")} == {"namespace", "pod"}


def test_some_replicas_stay_while_nodes_are_drained(production: Cluster) -> None:
    budgets = production.of("PodDisruptionBudget")
    for pod in production.servers:
        (budget,) = [b["spec"] for b in budgets if matches(b["spec"]["selector"]["matchLabels"], pod.labels)]
        (least,) = [o["spec"]["minReplicas"] for o in _scalers() if o["spec"]["scaleTargetRef"]["name"] == pod.name]
        assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        allowed = budget["maxUnavailable"]
        share = int(allowed.removesuffix("%")) / 100 if isinstance(allowed, str) else 0.0
        away = -(-int(100 * share) * least // 100) if share else allowed  # Kubernetes rounds up
        assert 1 <= away < least
    for budget in budgets:
        selector = budget["spec"]["selector"]["matchLabels"]
        assert any(matches(selector, pod.labels) for pod in production.servers)
    shards = [pod for pod in production.servers if pod.service == "retrieval"]
    (budget,) = [b["spec"] for b in budgets if b["metadata"]["name"] == "retrieval"]
    assert all(matches(budget["selector"]["matchLabels"], pod.labels) for pod in shards)
    assert budget["maxUnavailable"] == 1  # of all shards together: two could be all there is of one


def test_replicas_are_spread_over_zones_and_nodes(production: Cluster) -> None:
    for pod in production.servers:
        constraints = pod.spec["topologySpreadConstraints"]
        assert [each["topologyKey"] for each in constraints] == [
            "topology.kubernetes.io/zone",
            "kubernetes.io/hostname",
        ]
        for each in constraints:
            alike = {key: pod.labels[key] for key in each["matchLabelKeys"] if key in pod.labels}
            selector = {**each["labelSelector"]["matchLabels"], **alike}
            assert [other.name for other in production.pods if matches(selector, other.labels)] == [pod.name]


def _scalers() -> list[Object]:
    return overlay("production").of("HorizontalPodAutoscaler")

"""Whoever watches finds every pod, under the labels that dashboards and alerts ask for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.k8s.manifests import Cluster, Object, Pod, overlay, selects


def text_of(cluster: Cluster, config_map: str, key: str) -> str:
    """A file of a generated ConfigMap, whose name ends in a hash."""
    (found,) = [each for name, each in cluster.named("ConfigMap").items() if name.startswith(f"{config_map}-")]
    return str(found["data"][key])


def pod_of(cluster: Cluster, service: str) -> Pod:
    (found,) = [pod for pod in cluster.pods if pod.service == service]
    return found


@pytest.mark.parametrize("name", ["local", "small"])
def test_our_own_prometheus_finds_every_pod_ready_or_not_and_names_it_after_its_service(name: str) -> None:
    cluster = overlay(name)
    (job,) = yaml.safe_load(text_of(cluster, "prometheus", "prometheus.yml"))["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    named: dict[str, str] = {}
    rules: dict[str, Object] = {rule["target_label"]: rule for rule in job["relabel_configs"]}
    for asked in found["names"]:
        service = cluster.named("Service")[asked]["spec"]
        assert service["clusterIP"] == "None"
        assert service["publishNotReadyAddresses"] is True
        (pod,) = cluster.behind(asked)
        assert pod.ports()["metrics"] == found["port"]
        match = re.fullmatch(rules["job"]["regex"], asked)
        assert match is not None
        named[pod.name] = match[1]
    assert named == {pod.name: pod.service for pod in cluster.servers}
    assert rules["namespace"]["replacement"] == cluster.objects[0]["metadata"]["name"]


def test_the_operator_finds_the_same_pods() -> None:
    cluster = overlay("production")
    (monitor,) = cluster.of("PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    chosen = [pod for pod in cluster.pods if selects(monitor["spec"]["selector"], pod.labels)]
    assert chosen == cluster.servers
    assert all(endpoint["port"] in pod.ports() for pod in chosen)
    assert all(monitor["spec"]["jobLabel"] in pod.labels for pod in chosen)
    (rule,) = cluster.of("PrometheusRule")
    assert rule["metadata"]["name"] == "explore"
    assert rule["metadata"]["labels"]["release"] == monitor["metadata"]["labels"]["release"] == "CHANGE-ME"


def test_our_own_prometheus_gets_the_alerts_of_the_operators(tmp_path: Path) -> None:
    cluster = overlay("local")
    prometheus = pod_of(cluster, "prometheus")
    (unpack,) = prometheus.spec["initContainers"]
    mounted, written = tmp_path / "alert-rules", tmp_path / "rules"
    mounted.mkdir()
    written.mkdir()
    (mounted / "prometheus-rules.yaml").write_text(text_of(cluster, "alert-rules", "prometheus-rules.yaml"))
    python, dash_c, code = unpack["command"]
    assert (python, dash_c) == ("python", "-c")
    paths = {mount["mountPath"]: mount["name"] for mount in unpack["volumeMounts"]}
    for path, name in paths.items():
        code = code.replace(f'"{path}/', f'"{tmp_path / name}/')
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    (file,) = written.iterdir()
    (rule,) = overlay("production").of("PrometheusRule")
    assert yaml.safe_load(file.read_text()) == rule["spec"]
    (pattern,) = yaml.safe_load(text_of(cluster, "prometheus", "prometheus.yml"))["rule_files"]
    (server,) = prometheus.spec["containers"]
    (mount,) = [each for each in server["volumeMounts"] if each["name"] == "rules"]
    assert (Path(mount["mountPath"]) / file.name).match(pattern)


def test_grafana_has_its_source_and_its_dashboards() -> None:
    cluster = overlay("local")
    grafana = pod_of(cluster, "grafana")
    (source,) = yaml.safe_load(text_of(cluster, "grafana-provisioning", "datasources.yaml"))["datasources"]
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert [pod.service for pod in cluster.behind(host)] == ["prometheus"]
    assert cluster.named("Service")[host]["spec"]["ports"][0]["port"] == int(port)
    (provider,) = yaml.safe_load(text_of(cluster, "grafana-provisioning", "dashboards.yaml"))["providers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in grafana.spec["containers"][0]["volumeMounts"]}
    volume = grafana.volumes()[mounts[provider["options"]["path"]]]
    assert volume["configMap"]["name"] == "dashboards"  # no hash, so an upgrade replaces it
    dashboards = cluster.named("ConfigMap")[volume["configMap"]["name"]]["data"]
    titles: list[Any] = [json.loads(text)["title"] for text in dashboards.values()]
    assert titles == ["Explore"]


def test_what_grafana_is_told_is_what_it_listens_to() -> None:
    """A misspelt variable is ignored in silence; sections and keys are capital letters."""
    for container in pod_of(overlay("local"), "grafana").containers():
        names = [variable["name"] for variable in container["env"]]
        assert "GF_ANALYTICS_REPORTING_ENABLED" in names  # reports go nowhere unless somebody says so
        assert [name for name in names if not re.fullmatch(r"GF_[A-Z_]+", name)] == []

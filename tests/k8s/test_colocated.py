"""Stages in the gateway's process: any set of them, in any overlay, and nothing is left of the pods that are no more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shutil import copytree

import pytest
import yaml

from colocated.__main__ import Neighbours
from serving.local_channel import LocalChannel
from serving.server import ServerHandle, Service
from serving.telemetry import NoTelemetry
from tests.k8s.manifests import K8S, Cluster, Pod, overlay, relative, render, selects
from tests.k8s.settings import environment, server_of
from tests.k8s.test_rendering import CURRENT, problems
from tests.k8s.test_settings import MODULES, PORTS, modules_of, read

STAGES = ("retrieval", "prerank", "rank", "rerank")
SETS = [("prerank",), ("rank", "rerank"), ("retrieval",)]  # all together are the overlay `small`


def hosting(stages: Sequence[str], base: str, root: Path) -> Cluster:
    """A copy of an overlay, as README.md says to make one, with these stages in the gateway's process."""
    overlay_of_ours = root / "overlay"
    copytree(K8S / "overlays" / base, overlay_of_ours)
    kustomization = yaml.safe_load((overlay_of_ours / "kustomization.yaml").read_text())
    kustomization["components"] += [f"../../components/colocated/{stage}" for stage in stages]
    text = yaml.safe_dump(kustomization).replace("../..", relative(K8S, overlay_of_ours))
    (overlay_of_ours / "kustomization.yaml").write_text(text)
    return render(overlay_of_ours)


def host_of(cluster: Cluster) -> Pod:
    (found,) = [pod for pod in cluster.servers if pod.service == "gateway"]
    return found


@pytest.mark.parametrize("stages", SETS, ids="-".join)
def test_any_stages_move_and_the_others_stay(
    stages: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, cluster = overlay("local"), hosting(stages, "local", tmp_path)
    assert server_of(host_of(cluster))["command"] == ["python", "-m", "colocated"]
    assert modules_of(cluster, host_of(cluster)) == {"gateway", *(MODULES[stage] for stage in stages)}
    assert {pod.service for pod in cluster.servers} == {"gateway", *STAGES} - set(stages)
    configs = read(cluster, host_of(cluster), tmp_path / "files", monkeypatch)
    assert {config.service_name for config in configs} == {"gateway", *stages}
    changed = [each for each in cluster.objects if each not in before.objects]
    assert [found for each in changed if (found := problems(each, CURRENT, monkeypatch))] == []
    stayed = [pod for pod in before.pods if pod.service not in {"gateway", "prometheus", *stages}]
    assert [pod for pod in cluster.pods if pod.service not in {"gateway", "prometheus"}] == stayed
    for stage in STAGES:
        (pod,) = cluster.behind(stage)
        (port,) = cluster.named("Service")[stage]["spec"]["ports"]
        assert (port["port"], pod.ports()[port["targetPort"]]) == (PORTS[stage], PORTS[stage])
        assert pod.service == ("gateway" if stage in stages else stage)


@pytest.mark.parametrize("stages", SETS[:-1], ids="-".join)  # production has retrieval in shards: not for one process
def test_nothing_is_left_of_the_pods_that_are_no_more(stages: tuple[str, ...], tmp_path: Path) -> None:
    """With autoscalers, budgets, certificates and monitoring."""
    cluster = hosting(stages, "production", tmp_path)
    owners = {(pod.owner["kind"], pod.name) for pod in cluster.pods}
    for scaler in cluster.of("HorizontalPodAutoscaler"):
        assert (scaler["spec"]["scaleTargetRef"]["kind"], scaler["spec"]["scaleTargetRef"]["name"]) in owners
    for budget in cluster.of("PodDisruptionBudget"):
        assert any(selects(budget["spec"]["selector"], pod.labels) for pod in cluster.pods)
    for service in cluster.named("Service"):
        assert cluster.behind(service), f"{service} leads nowhere"
    assert cluster.named("ServiceAccount").keys() == {pod.service for pod in cluster.pods}
    assert "EXPLORE_TLS_DIRECTORY" in environment(cluster, host_of(cluster))


async def test_the_gateway_calls_the_stages_beside_it_without_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, neighbours = overlay("small"), Neighbours()
    host = host_of(cluster)
    for config in read(cluster, host, tmp_path, monkeypatch):
        neighbours.add(config, ServerHandle(config, Service((config.service_name,), lambda _: None), NoTelemetry()))
    for stage in STAGES:
        address = environment(cluster, host)[f"EXPLORE_{stage.upper()}_ADDRESS"]
        assert isinstance(neighbours.open_channel(address), LocalChannel), stage

"""What every pod must be: restricted, limited, probed, labelled, and with nothing missing that it mounts or runs as."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.k8s.manifests import (
    COMPONENT,
    K8S,
    NAME,
    OVERLAYS,
    PREFIX,
    Cluster,
    Object,
    Pod,
    overlay,
    relative,
    render,
    walk,
)
from tests.k8s.settings import HANDMADE

PODS = [(name, pod) for name in OVERLAYS for pod in overlay(name).pods]
each_pod = pytest.mark.parametrize(("name", "pod"), PODS, ids=[f"{name}-{pod.name}" for name, pod in PODS])

RECOMMENDED = {NAME, COMPONENT, f"{PREFIX}instance", f"{PREFIX}part-of"}
OURS = {f"{PREFIX}version", f"{PREFIX}managed-by"}  # of what is built from this repository
IMAGES = {"gateway": "explore-serve", "stage": "explore-serve", "training": "explore-train"}
UNIT = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30, "": 1}


def quantity(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(m|Mi|Gi|)", text)
    assert found, f"{text!r} is written unlike the others"
    return float(found[1]) * UNIT[found[2]]


@each_pod
def test_a_pod_keeps_to_the_restricted_standard(name: str, pod: Pod) -> None:
    shared: Object = pod.spec["securityContext"]
    assert shared["runAsNonRoot"] is True
    assert shared["runAsUser"] > 0
    assert shared["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
    assert not [volume for volume in pod.volumes().values() if "hostPath" in volume]
    for container in pod.containers():
        own: Object = container["securityContext"]
        assert own == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not [port for port in container.get("ports", []) if "hostPort" in port]


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_refuses_pods_that_do_not(name: str) -> None:
    (namespace,) = overlay(name).of("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@each_pod
def test_a_pod_has_an_identity_of_its_own_and_no_token(name: str, pod: Pod) -> None:
    account = overlay(name).named("ServiceAccount")[pod.spec["serviceAccountName"]]
    assert pod.spec["serviceAccountName"] == pod.service
    assert account["automountServiceAccountToken"] is False
    assert pod.spec["automountServiceAccountToken"] is False
    assert not overlay(name).of("Role") + overlay(name).of("ClusterRole")


@each_pod
def test_every_container_says_what_it_needs_and_may_have(name: str, pod: Pod) -> None:
    for container in pod.containers():
        resources = container["resources"]
        for kind in ("cpu", "memory"):
            assert 0 < quantity(resources["requests"][kind]) <= quantity(resources["limits"][kind])
    for volume in pod.volumes().values():
        if volume.get("emptyDir") is not None and volume["name"] != "bundles":
            assert "sizeLimit" in volume["emptyDir"], f"{volume['name']} may fill the node"


@each_pod
def test_what_runs_on_is_probed(name: str, pod: Pod) -> None:
    if pod.owner["kind"] in {"Job", "CronJob"}:
        return
    for container in pod.spec["containers"]:
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
        start, live = container["startupProbe"], container["livenessProbe"]
        assert start["failureThreshold"] * start["periodSeconds"] >= 60  # slow nodes exist
        assert live.get("timeoutSeconds", 1) >= 5  # a busy process is no dead one
        declared = set(pod.ports().values()) | set(pod.ports())
        for probe in (container[f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")):
            asked = [probe[how]["port"] for how in ("grpc", "httpGet", "tcpSocket") if how in probe]
            assert set(asked) <= declared


@each_pod
def test_what_is_mounted_exists(name: str, pod: Pod) -> None:
    cluster, volumes = overlay(name), pod.volumes()
    claimed = {claim["metadata"]["name"] for claim in pod.owner["spec"].get("volumeClaimTemplates", [])}
    used = {mount["name"] for container in pod.containers() for mount in container.get("volumeMounts", [])}
    assert used == volumes.keys() | claimed
    certified = {certificate["spec"]["secretName"] for certificate in cluster.of("Certificate")}
    for part in walk(list(volumes.values())):
        if "configMap" in part and not part["configMap"].get("optional"):
            found = cluster.named("ConfigMap")[part["configMap"]["name"]]["data"]
            assert {item["key"] for item in part["configMap"].get("items", [])} <= found.keys()
        if "secret" in part:
            assert part["secret"]["secretName"] in certified | HANDMADE.keys()
        if "persistentVolumeClaim" in part:
            assert part["persistentVolumeClaim"]["claimName"] in cluster.named("PersistentVolumeClaim")
    for container in pod.containers():
        paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        assert len(set(paths)) == len(paths)


@each_pod
def test_what_variables_come_from_exists(name: str, pod: Pod) -> None:
    maps = overlay(name).named("ConfigMap")
    for container in pod.containers():
        for part in walk([container.get("env", []), container.get("envFrom", [])]):
            if "configMapRef" in part:
                assert part["configMapRef"]["name"] in maps
            if "configMapKeyRef" in part:
                assert part["configMapKeyRef"]["key"] in maps[part["configMapKeyRef"]["name"]]["data"]
            if "secretRef" in part:
                assert part["secretRef"]["optional"]  # workload identity may bring the credentials


def test_shards_in_a_copy_of_local_read_bundles_from_its_volume(tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(K8S / "overlays" / "local", copied)
    kustomization = yaml.safe_load((copied / "kustomization.yaml").read_text("utf-8"))
    kustomization["resources"][0] = relative(K8S / "base", copied)
    names = ["sharded-retrieval", *(Path(each).name for each in kustomization["components"])]
    kustomization["components"] = [relative(K8S / "components" / name, copied) for name in names]
    (copied / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), "utf-8")
    pods = render(copied).servers
    assert sum(pod.name.startswith("retrieval-") for pod in pods) == 2
    for pod in pods:
        assert pod.volumes()["bundles"]["persistentVolumeClaim"] == {"claimName": "bundles"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_servers_read_bundles_from_where_they_are_put(name: str) -> None:
    for pod in overlay(name).servers:
        for container in pod.containers():
            (mount,) = [m for m in container["volumeMounts"] if m["name"] == "bundles"]
            assert mount["mountPath"] == "/var/explore/bundles"
            assert mount.get("readOnly", False) is (container["name"] == "server")
        if name == "production":
            first, beside = pod.spec["initContainers"]
            fetch = ["python", "-m", "bundles", "fetch", "$(BUNDLE_URL)", "--root", "/var/explore/bundles"]
            assert first["command"] == fetch
            assert beside["command"][: len(fetch)] == fetch
            assert "--follow" in beside["command"]
            assert (first.get("restartPolicy"), beside["restartPolicy"]) == (None, "Always")
        else:
            (job,) = [each for each in overlay(name).pods if each.name == "first-bundle"]
            assert job.volumes()["bundles"] == pod.volumes()["bundles"]


def test_a_bundle_too_many_evicts_no_pod_and_the_node_has_room_for_all_that_are_kept() -> None:
    """kubelet evicts a pod that passes a limit of its disk, budget or not; and all pods fetch the same version at once."""
    gigabyte, millions, waiting, coming = 0.7e9, 4, 1, 1  # of a version per million media; what production is sized for
    for pod in overlay("production").servers:
        assert pod.volumes()["bundles"] == {"name": "bundles", "emptyDir": {}}
        assert not any("ephemeral-storage" in each["resources"]["limits"] for each in pod.containers())
        (beside,) = [each for each in pod.containers() if each["name"] == "follow-bundles"]
        kept = int(beside["command"][beside["command"].index("--keep") + 1])
        asked = [each["resources"]["requests"].get("ephemeral-storage") for each in pod.containers()]
        assert sum(quantity(each) for each in asked if each is not None) >= gigabyte * millions * (
            kept + waiting + coming
        )


@each_pod
def test_images_are_ours_or_pinned(name: str, pod: Pod) -> None:
    expected = IMAGES.get(pod.labels[COMPONENT])
    for container in pod.containers():
        image, _, tag = container["image"].rpartition(":")
        assert tag not in {"", "latest"}
        assert expected is None or image.rpartition("/")[2] == expected
        assert name == "production" or expected is None or container["image"] == f"{expected}:local"


def test_every_object_is_labelled(cluster: Cluster) -> None:
    for each in cluster.objects:
        labels = each["metadata"].get("labels", {})
        assert {f"{PREFIX}instance"} <= labels.keys() or each["kind"] == "Namespace", each["metadata"]["name"]
    for pod in cluster.pods:
        assert pod.labels.keys() >= RECOMMENDED
        assert pod.labels[f"{PREFIX}part-of"] == "explore"
        assert not pod.serves or pod.labels.keys() >= OURS


def test_selectors_find_their_own_pods_and_no_others(cluster: Cluster) -> None:
    for pod in cluster.pods:
        if "selector" in pod.owner["spec"]:
            selector = pod.owner["spec"]["selector"]["matchLabels"]
            assert not {f"{PREFIX}version", f"{PREFIX}instance"} & selector.keys()  # selectors can never change
            assert [other.name for other in cluster.pods if selector.items() <= other.labels.items()] == [pod.name]
    for service in cluster.of("Service"):
        found = cluster.behind(service["metadata"]["name"])
        assert found, f"{service['metadata']['name']} leads nowhere"
        for port in service["spec"]["ports"]:
            assert all(port["targetPort"] in pod.ports() for pod in found)


def test_the_way_in_leads_to_the_public_services_alone() -> None:
    cluster = overlay("local")
    (ingress,) = cluster.of("Ingress")
    paths = [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert {path["path"] for path in paths} == {"/explore.v1.ExploreService", "/explore.v1.FeedbackService"}
    for path in paths:
        backend = path["backend"]["service"]
        assert [pod.service for pod in cluster.behind(backend["name"])] == ["gateway"]
        ports = cluster.named("Service")[backend["name"]]["spec"]["ports"]
        assert backend["port"]["name"] in {port["name"] for port in ports}


def test_no_secret_is_in_the_manifests(cluster: Cluster) -> None:
    assert cluster.of("Secret") == []

"""Everything renders, and is what the API servers of the oldest and the newest version would take."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils as schemas

from tests.k8s.manifests import COMPONENTS, K8S, OVERLAYS, Cluster, Object, overlay, relative, render

OLDEST, CURRENT = "1.30", "1.37"  # before 1.30, a pod cannot sleep in preStop without a shell

# Custom resources: their schemas come with their controllers, so here only names and references are checked.
CUSTOM = {
    ("cert-manager.io/v1", "Certificate"),
    ("cert-manager.io/v1", "Issuer"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
}
CLUSTER_WIDE = {"Namespace"}
NEEDS = {"own-monitoring": ("monitoring",)}  # components that build on others


def problems(obj: Object, version: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What an API server would refuse, unknown fields included; empty if nothing."""
    monkeypatch.setattr(schemas, "schema_contents", _schema)
    try:
        kubernetes_validate.validate(obj, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{obj['kind']}/{obj['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message[:300]}"
    except kubernetes_validate.SchemaNotFoundError as error:
        known = (obj["apiVersion"], obj["kind"]) in CUSTOM
        return "" if known else str(error.message)
    return ""


_read_schema = schemas.schema_contents


@cache
def _schema(filename: str, version: str) -> object:
    return _read_schema(filename, version)  # a megabyte, which the library reads anew for every object


@pytest.mark.parametrize("version", [OLDEST, CURRENT])
def test_an_api_server_takes_every_object(cluster: Cluster, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [found for obj in cluster.objects if (found := problems(obj, version, monkeypatch))] == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_each_component_renders_on_the_bare_base(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kustomization = {
        "resources": [relative(K8S / "base", tmp_path)],
        "components": [relative(K8S / "components" / each, tmp_path) for each in (*NEEDS.get(name, ()), name)],
        "configMapGenerator": [{"name": "bundle-source", "literals": ["url=file:///bundles"]}],
    }
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    new = [obj for obj in render(tmp_path).objects if obj not in render(K8S / "base").objects]
    assert [found for obj in new if (found := problems(obj, CURRENT, monkeypatch))] == []
    assert [obj for obj in new if obj["kind"] != "ConfigMap"], "it changes nothing"


def test_every_component_is_part_of_an_overlay() -> None:
    used = {
        Path(path).name
        for name in OVERLAYS
        for path in yaml.safe_load((K8S / "overlays" / name / "kustomization.yaml").read_text())["components"]
    }
    assert used == set(COMPONENTS)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "replica"), 2),
        (("spec", "template", "spec", "containers", 0, "livenessProbe", "grpc", "port"), "8086"),
    ],
)
def test_an_unknown_field_or_a_wrong_type_would_be_found(
    path: tuple[str | int, ...], value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: Object = yaml.safe_load(yaml.safe_dump(overlay("local").named("Deployment")["gateway"]))
    node = broken
    for step in path[:-1]:
        node = node[step]  # type: ignore[index]
    node[path[-1]] = value  # type: ignore[index]
    assert problems(broken, OLDEST, monkeypatch)
    assert problems(broken, CURRENT, monkeypatch)


def test_an_unknown_kind_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems({"apiVersion": "v1", "kind": "Deploymint", "metadata": {"name": "x"}}, CURRENT, monkeypatch)


def test_the_namespace_comes_first_and_holds_everything(cluster: Cluster) -> None:
    assert cluster.objects[0]["kind"] == "Namespace"
    outside = [o for o in cluster.objects if o["metadata"].get("namespace") != "explore"]
    assert {o["kind"] for o in outside} == CLUSTER_WIDE  # so that deleting it leaves nothing


def test_no_name_is_used_twice(cluster: Cluster) -> None:
    names = [(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in cluster.objects]
    assert len(set(names)) == len(names)

"""Kustomizations rendered by the pinned kubectl, and what a test asks of them. Knows Kubernetes' objects, and none of our rules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("local", "production", "small")
COMPONENTS = tuple(sorted(path.parent.name for path in K8S.glob("components/*/kustomization.yaml")))

Object = dict[str, Any]
Labels = Mapping[str, str]

PREFIX = "app.kubernetes.io/"
NAME, COMPONENT = f"{PREFIX}name", f"{PREFIX}component"
_TEMPLATED = ("Deployment", "StatefulSet", "Job", "CronJob")


@dataclass(frozen=True)
class Pod:
    """What a workload makes, as often as it makes it."""

    owner: Object
    labels: Labels
    spec: Object

    @property
    def name(self) -> str:
        """The workload's, as people know it."""
        return str(self.owner["metadata"]["name"])

    @property
    def service(self) -> str:
        """What the pod is, whatever shard of it."""
        return self.labels[NAME]

    @property
    def serves(self) -> bool:
        """Whether it is one of our five services."""
        return self.labels[COMPONENT] in {"gateway", "stage"}

    def containers(self) -> list[Object]:
        """All of them, those that run first or beside included."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def ports(self) -> dict[str, int]:
        """Numbers by name."""
        return {port["name"]: port["containerPort"] for c in self.containers() for port in c.get("ports", [])}

    def volumes(self) -> dict[str, Object]:
        """By name."""
        return {volume["name"]: volume for volume in self.spec.get("volumes", [])}


@dataclass(frozen=True)
class Cluster:
    """Everything that one kustomization renders to."""

    name: str
    objects: tuple[Object, ...]

    def of(self, kind: str) -> list[Object]:
        """All objects of a kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def named(self, kind: str) -> dict[str, Object]:
        """All objects of a kind by name."""
        return {each["metadata"]["name"]: each for each in self.of(kind)}

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """One of each workload."""
        owners = [each for each in self.objects if each["kind"] in _TEMPLATED]
        templates = [(owner, owner["spec"].get("jobTemplate", owner)["spec"]["template"]) for owner in owners]
        return tuple(Pod(owner, template["metadata"]["labels"], template["spec"]) for owner, template in templates)

    @property
    def servers(self) -> list[Pod]:
        """The pods of our five services."""
        return [pod for pod in self.pods if pod.serves]

    def behind(self, service: str) -> list[Pod]:
        """The pods that a Service selects; none if there is no such Service."""
        found = self.named("Service").get(service)
        return [] if found is None else [pod for pod in self.pods if matches(found["spec"]["selector"], pod.labels)]


def matches(selector: Labels, labels: Labels) -> bool:
    """Whether equality-based `selector` selects something with these labels."""
    return all(labels.get(key) == value for key, value in selector.items())


def selects(selector: Object, labels: Labels) -> bool:
    """Whether a LabelSelector selects something with these labels; an empty one selects everything."""
    for rule in selector.get("matchExpressions", []):
        if rule["operator"] != "In":
            raise NotImplementedError(f"no manifest of ours has used {rule['operator']} so far")
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return matches(selector.get("matchLabels", {}), labels)


def overlay(name: str) -> Cluster:
    """One of OVERLAYS."""
    return render(K8S / "overlays" / name)


@cache
def render(directory: Path) -> Cluster:
    """Any kustomization, once."""
    return Cluster(directory.name, tuple(_objects(_kustomize(directory))))


def relative(path: Path, start: Path) -> str:
    """How a kustomization in `start` refers to `path`; kustomize refuses absolute ones."""
    return os.path.relpath(path, start)


def walk(node: Any) -> Iterator[Object]:
    """Every mapping in a document."""
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from walk(child)
    elif isinstance(node, list):
        for child in node:
            yield from walk(child)


def _kustomize(directory: Path) -> str:
    pinned = Path(sys.executable).parent / "kubectl"  # of the `dev` extra, so that every machine renders alike
    kubectl = str(pinned) if pinned.exists() else shutil.which("kubectl")
    if kubectl is None:
        raise FileNotFoundError("there is no kubectl: `make setup` installs one into the environment")
    done = subprocess.run(
        [kubectl, "kustomize", str(directory)], capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise AssertionError(f"{directory} does not render: {done.stderr}")
    return done.stdout


def _objects(text: str) -> list[Object]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [each for each in yaml.load_all(text, Loader=loader) if each]

"""Exactly the calls of the architecture are possible: every pair of ends and every port, against the drawing below."""

from __future__ import annotations

import re
from itertools import product

import pytest
import yaml

from tests.k8s.manifests import K8S, OVERLAYS, ROOT, Cluster, Object, Pod, overlay, selects
from tests.k8s.test_settings import PORTS
from tests.k8s.traffic import Place, allowed

STAGES = ("retrieval", "prerank", "rank", "rerank")
SERVICES = ("gateway", *STAGES)

OUTSIDE = (
    Place("entry", namespace={"explore-stack/entry": "true"}),
    Place("stranger", namespace={"kubernetes.io/metadata.name": "default"}),
    Place("dns", namespace={"kubernetes.io/metadata.name": "kube-system"}),
    Place("monitoring", namespace={"kubernetes.io/metadata.name": "monitoring"}),
    Place("observability", namespace={"kubernetes.io/metadata.name": "observability"}),
    Place("internet", address="203.0.113.7"),
    Place("private network", address="10.1.2.3"),
    Place("EKS pod identity", address="169.254.170.23"),
    Place("GKE metadata", address="169.254.169.252"),
    Place("machine's metadata", address="169.254.169.254"),
)
ELSEWHERE = tuple(place.name for place in OUTSIDE)

# The arrows of docs/architecture.md: caller, called, port.
DRAWN = {
    ("gateway", "retrieval", 50051),
    ("gateway", "prerank", 50052),
    ("gateway", "rank", 50053),
    ("gateway", "rerank", 50054),
    ("entry", "gateway", 50050),
}
# Around it, each overlay has its own: Valkey, where bundles come from, who looks at metrics.
BESIDE = {
    "local": {
        ("gateway", "valkey", 6379),
        ("first-bundle", "valkey", 6379),
        *(("prometheus", service, 9464) for service in SERVICES),
        ("grafana", "prometheus", 9090),
    },
    "small": {
        ("gateway", "valkey", 6379),
        ("first-bundle", "valkey", 6379),
        ("prometheus", "gateway", 9464),
        ("grafana", "prometheus", 9090),
    },
    "production": {
        *((place, "gateway", 50050) for place in ELSEWHERE),  # through the load balancer; the gateway asks for keys
        *product(SERVICES, ELSEWHERE, (443,)),  # object storage
        *product(SERVICES, ("EKS pod identity",), (80,)),
        *product(SERVICES, ("GKE metadata",), (988,)),
        ("gateway", "private network", 6379),  # Valkey
        *((service, "observability", 4317) for service in SERVICES),
        *(("monitoring", service, 9464) for service in SERVICES),
    },
}
UNDECLARED = 1  # a port that no container has
ASKED_OUTSIDE = (80, 443, 988, 4317, 6379, 6443, 9000, 50050)


_End = tuple[Pod | Place, int]


def possible(cluster: Cluster) -> set[tuple[str, str, int]]:
    """Every call over TCP that the policies let through, DNS aside."""
    inside: list[_End] = [(pod, port) for pod in cluster.pods for port in (*pod.ports().values(), UNDECLARED)]
    outside: list[_End] = [(place, port) for place in OUTSIDE for port in ASKED_OUTSIDE]
    callers: list[tuple[Pod | Place, list[_End]]] = [(pod, inside + outside) for pod in cluster.pods]
    callers += [(place, inside) for place in OUTSIDE]
    return {
        (_name(caller), _name(called), port)
        for caller, ends in callers
        for called, port in ends
        if caller is not called and allowed(cluster, caller, called, port)
    }


def _name(end: Pod | Place) -> str:
    return end.service if isinstance(end, Pod) else end.name


def test_the_drawing_is_that_of_the_documentation() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    arrows = re.findall(r"[├└]──► (\w+)_svc", text)
    assert {(caller, called) for caller, called, _ in DRAWN if caller == "gateway"} == {("gateway", a) for a in arrows}
    assert {port for _, called, port in DRAWN for name in PORTS if called == name} == set(PORTS.values())


@pytest.mark.parametrize("name", OVERLAYS)
def test_exactly_what_is_drawn_is_possible(name: str) -> None:
    running = {pod.service for pod in overlay(name).pods}
    drawn = {(caller, called, port) for caller, called, port in DRAWN if called in running}  # others are no calls
    assert possible(overlay(name)) == drawn | BESIDE[name]


def test_what_is_there_to_be_opened_opens_what_it_says() -> None:
    """The commented rules of remote-bundles, without their "# ", are rules."""
    text = (K8S / "components" / "remote-bundles" / "network.yaml").read_text()
    opened = re.sub(r"^    # (- to:|  ports:|    - .*)$", r"    \1", text, flags=re.MULTILINE)
    kept = [each for each in overlay("production").objects if each["metadata"]["name"] != "bundles-to-object-storage"]
    cluster = Cluster("production", (*kept, yaml.safe_load(opened)))
    wider = {("machine's metadata", 80), ("private network", 9000)}
    assert possible(cluster) - possible(overlay("production")) == {
        (service, called, port) for service in SERVICES for called, port in wider
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_everybody_may_look_up_names_and_nothing_else_there(name: str) -> None:
    (dns,) = [place for place in OUTSIDE if place.name == "dns"]
    for pod in overlay(name).pods:
        assert allowed(overlay(name), pod, dns, 53, "UDP")
        assert allowed(overlay(name), pod, dns, 53)
        assert not allowed(overlay(name), pod, dns, 54, "UDP")


@pytest.mark.parametrize("name", OVERLAYS)
def test_what_nobody_thought_of_is_denied(name: str) -> None:
    newcomer = Pod({"metadata": {"name": "newcomer"}}, {"app.kubernetes.io/name": "newcomer"}, {"containers": []})
    cluster = overlay(name)
    (stranger,) = [place for place in OUTSIDE if place.name == "stranger"]
    for pod in cluster.pods:
        assert not any(allowed(cluster, newcomer, pod, port) for port in pod.ports().values())
    assert not any(allowed(cluster, newcomer, place, 443) for place in OUTSIDE)
    assert not allowed(cluster, stranger, newcomer, 80)


@pytest.mark.parametrize("lost", ["deny-all", "stages"])
def test_a_policy_that_goes_missing_would_be_noticed(lost: str) -> None:
    kept: tuple[Object, ...] = tuple(o for o in overlay("local").objects if o["metadata"]["name"] != lost)
    assert possible(Cluster("local", kept)) != DRAWN | BESIDE["local"]


def test_every_policy_selects_somebody_and_allows_what_listens() -> None:
    for cluster in map(overlay, OVERLAYS):
        for policy in cluster.of("NetworkPolicy"):
            spec = policy["spec"]
            chosen = [pod for pod in cluster.pods if selects(spec["podSelector"], pod.labels)]
            assert chosen, policy["metadata"]["name"]
            named = [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]]
            assert all(name in pod.ports() for name in named for pod in chosen), policy["metadata"]["name"]

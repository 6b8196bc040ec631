"""What NetworkPolicies let through: pods and places outside, and one question, may this one call that one at this port.

As the API defines it: a pod that no policy of a direction selects is open in that direction; what any policy allows is allowed; a
call needs both ends. Probes of kubelet are not asked for, since no policy can forbid them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Literal

from tests.k8s.manifests import Cluster, Object, Pod, selects

Direction = Literal["Ingress", "Egress"]


@dataclass(frozen=True)
class Place:
    """Somebody outside the namespace: pods of another one, or an address."""

    name: str
    namespace: Mapping[str, str] = field(default_factory=dict)
    address: str = ""


def allowed(cluster: Cluster, caller: Pod | Place, called: Pod | Place, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection comes about."""
    ports = called.ports() if isinstance(called, Pod) else {}
    return _open(cluster, "Egress", caller, called, port, ports, protocol) and _open(
        cluster, "Ingress", called, caller, port, ports, protocol
    )


def _open(
    cluster: Cluster,
    direction: Direction,
    here: Pod | Place,
    there: Pod | Place,
    port: int,
    names: Mapping[str, int],
    protocol: str,
) -> bool:
    if isinstance(here, Place):
        return True
    policies = [
        each["spec"]
        for each in cluster.of("NetworkPolicy")
        if direction in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], here.labels)
    ]
    peers = "from" if direction == "Ingress" else "to"
    return not policies or any(
        _any_peer(rule[peers], there) and _any_port(rule["ports"], port, names, protocol)
        for policy in policies
        for rule in policy.get(direction.lower(), [])
    )


def _any_peer(peers: list[Object], there: Pod | Place) -> bool:
    return any(_peer(peer, there) for peer in peers)


def _peer(peer: Object, there: Pod | Place) -> bool:
    if "ipBlock" in peer:
        network = ip_network(peer["ipBlock"]["cidr"])
        if isinstance(there, Pod) or not there.address:
            return network.prefixlen == 0  # which addresses pods have, nobody knows
        address = ip_address(there.address)
        return address.version == network.version and address in network
    if isinstance(there, Pod):
        return "namespaceSelector" not in peer and selects(peer["podSelector"], there.labels)
    return "namespaceSelector" in peer and bool(there.namespace) and selects(peer["namespaceSelector"], there.namespace)


def _any_port(ports: list[Object], port: int, names: Mapping[str, int], protocol: str) -> bool:
    return any(
        names.get(each["port"], each["port"]) == port and each.get("protocol", "TCP") == protocol for each in ports
    )

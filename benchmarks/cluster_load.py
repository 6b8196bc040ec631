"""Load from inside a cluster: a pod in a namespace of its own that may call the gateway, and what its log says."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from benchmarks.cluster_kubectl import ClusterError, Kubectl
from benchmarks.engines import IMAGE
from loadtests.retries import CLIENT_OPTIONS

CLIENTS = 4  # each asks for the next page when it has the last one
DEADLINE_S = 2.0
USERS = 200
_CLIENT = Path(__file__).with_name("cluster_client.py")
_HERE = "explore-load"
_READY_S = 60.0


class Load:
    """The pod, from the first page to the end of the block. Raises ClusterError if it does not get a page in a minute."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        self._kubectl = kubectl
        self._target = f"dns:///gateway.{namespace}:50050"

    def __enter__(self) -> Self:
        self._kubectl("apply", "-f", "-", stdin=json.dumps(objects(self._target)))
        try:
            self._answered()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def steady(self, seconds: float) -> None:
        """Lets it ask for a while."""
        time.sleep(seconds)

    def lines(self) -> list[dict[str, Any]]:
        """What it said, second by second."""
        said = self._kubectl("-n", _HERE, "logs", "load")
        return [json.loads(line) for line in said.splitlines()]

    def _answered(self) -> None:
        end_s = time.monotonic() + _READY_S
        said = ""
        while time.monotonic() < end_s:
            try:
                lines = self.lines()
            except ClusterError as error:  # no container yet
                said = str(error)
            else:
                if any(line["took_ms"] for line in lines):
                    return
                said = str(lines[-1]["failed"]) if lines else said
            time.sleep(1.0)
        raise ClusterError(f"the pod {_HERE}/load got no page within {_READY_S:g} s: {said}")

    def _end(self) -> None:
        self._kubectl("delete", "namespace", _HERE, "--ignore-not-found", timeout_s=120)


def figures_of(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts and percentiles over all seconds; failures and degradations by what they said."""
    took_ms: list[float] = []
    failed: Counter[str] = Counter()
    degraded: Counter[str] = Counter()
    not_full = 0
    for line in lines:
        took_ms += line["took_ms"]
        failed.update(line["failed"])
        degraded.update(line["degraded"])
        not_full += line["not_full"]
    p50_ms, p99_ms = np.percentile(took_ms, [50, 99]).tolist() if took_ms else (1e6, 1e6)
    return {
        "pages": len(took_ms) + failed.total(),
        "failed": failed.total(),
        "failures": dict(failed.most_common(5)),
        "not_full": not_full,
        "degraded": degraded.total(),
        "degradations": dict(degraded.most_common(5)),
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
    }


def objects(target: str) -> dict[str, Any]:
    """The namespace that the gateway lets in, and the pod in it."""
    here = {"namespace": _HERE}
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": _HERE,
            "labels": {"explore-stack/entry": "true", "pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    script = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "load", **here},
        "data": {_CLIENT.name: _CLIENT.read_text(encoding="utf-8")},
    }
    arguments = [target, str(CLIENTS), str(USERS), str(DEADLINE_S), json.dumps(CLIENT_OPTIONS)]
    container = {
        "name": "load",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", f"/load/{_CLIENT.name}", *arguments],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "load", "mountPath": "/load", "readOnly": True}],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "load", **here},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "load", "configMap": {"name": "load"}}],
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [namespace, script, pod]}

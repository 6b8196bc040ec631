"""A cluster of Kubernetes: from apply to the first page, a rolling restart of everything under load, and what delete leaves.

Goes to the cluster that kubectl's current context names, whose nodes must hold the images (k8s/README.md), and which must not hold
Explore yet. Applies an overlay, which trains the first bundle; takes the workloads away, leaves the volumes and applies again, so
that no training counts; asks for pages from a pod of another namespace while every Deployment is restarted; deletes. Interrupted,
it deletes as well.
`python -m benchmarks.cluster [--overlay DIR | --manifests FILE] [--context NAME] [--about FILE]`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
from rich import box
from rich.table import Table

from benchmarks.cluster_kubectl import ClusterError, Kubectl
from benchmarks.cluster_load import CLIENTS, Load, figures_of
from benchmarks.faults_pages import FULL
from benchmarks.report import Check, Result, at_least, at_most, command_line, finish
from cli.progress import steps
from protos.explore.v1.feed_pb2 import GetFeedRequest
from protos.explore.v1.feed_pb2_grpc import ExploreServiceStub

MOST_FIRST_PAGE_S = 90.0
NAMESPACE = "explore"
_OVERLAY = Path(__file__).parents[1] / "k8s" / "overlays" / "local"
_WORKLOADS = "deployment,statefulset,job"
_SERVING = "app.kubernetes.io/component in (gateway, stage)"
_TRAINING_S = 1800.0
_PATIENCE_S = 300.0
_STEADY_S = 10.0  # of load before the first restart and after the last one


def main() -> int:
    """Measures, prints the tables and writes the result; exit status 1 if a check fails, 2 if the cluster cannot be used."""
    arguments = _arguments()
    try:
        kubectl = Kubectl(arguments.context)
        manifests = _manifests(arguments, kubectl)
        about = " ".join(arguments.about.read_text(encoding="utf-8").split()) if arguments.about else ""
        figures = {"about": about, **_measured(kubectl, manifests)}
    except (ClusterError, OSError) as error:
        print(f"error: {error}")
        return 2
    result = Result("cluster", command_line("benchmarks.cluster"), figures, checks_of(figures), _tables(figures))
    return finish(result)


def _manifests(arguments: argparse.Namespace, kubectl: Kubectl) -> str:
    if arguments.manifests is not None:
        return str(arguments.manifests.read_text(encoding="utf-8"))
    return kubectl("kustomize", str(arguments.overlay))


def _measured(kubectl: Kubectl, manifests: str) -> dict[str, Any]:
    node = kubectl.json("get", "nodes")["items"]
    if kubectl("get", "namespace", NAMESPACE, "--ignore-not-found", "-o", "name"):
        raise ClusterError(f"namespace {NAMESPACE} exists already; this benchmark wants a cluster without Explore")
    figures: dict[str, Any] = {
        "server": kubectl.json("version")["serverVersion"]["gitVersion"],
        "nodes": len(node),
        "runtime": node[0]["status"]["nodeInfo"]["containerRuntimeVersion"],
    }
    try:
        with steps() as progress:
            with progress.step("the first time, with training"):
                figures["first_time"] = _first_time(kubectl, manifests)
            with progress.step("apply to first page, trained"):
                figures["again"] = _again(kubectl, manifests)
            with progress.step("rolling restart under load") as report, Load(kubectl, NAMESPACE) as load:
                figures["rolling"] = _rolled(kubectl, load, report)
            with progress.step("delete"):
                figures["deleted"] = _deleted(kubectl, manifests)
    finally:
        kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=manifests)
    return figures


def _first_time(kubectl: Kubectl, manifests: str) -> dict[str, float]:
    """Seconds to the first whole page of a cluster that has nothing, and how many of them the Job trained."""
    begun_s = time.monotonic()
    kubectl("apply", "-f", "-", stdin=manifests)
    page_s = first_page_s(kubectl, begun_s, _TRAINING_S)
    kubectl("-n", NAMESPACE, "wait", "--for=condition=complete", "job/first-bundle", "--timeout=600s", timeout_s=610)
    pods = kubectl.items(NAMESPACE, "pod", "app.kubernetes.io/name=first-bundle")
    ran = [pod["status"]["initContainerStatuses"][0]["state"]["terminated"] for pod in pods]
    trained_s = max(_epoch_s(state["finishedAt"]) - _epoch_s(state["startedAt"]) for state in ran)
    return {"first_page_s": page_s, "training_s": trained_s}


def _again(kubectl: Kubectl, manifests: str) -> dict[str, float]:
    """Seconds to the first whole page, and until every Deployment is available, where the volumes hold a bundle and users."""
    kubectl("-n", NAMESPACE, "delete", _WORKLOADS, "--all", timeout_s=_PATIENCE_S)
    _wait(lambda: not kubectl.items(NAMESPACE, "pod"), "pods to end")
    begun_s = time.monotonic()
    kubectl("apply", "-f", "-", stdin=manifests)
    page_s = first_page_s(kubectl, begun_s, _PATIENCE_S)
    timeout = f"--timeout={_PATIENCE_S:g}s"
    kubectl("-n", NAMESPACE, "wait", "--for=condition=Available", "deployment", "--all", timeout, timeout_s=_PATIENCE_S)
    return {"first_page_s": page_s, "available_s": time.monotonic() - begun_s}


def first_page_s(kubectl: Kubectl, begun_s: float, most_s: float) -> float:
    """Seconds since `begun_s` until a page was whole, through port-forward. Raises ClusterError if none is within `most_s`."""
    said = "nothing"
    while time.monotonic() < begun_s + most_s:
        try:
            with (
                kubectl.forwarded(NAMESPACE, "deployment/gateway", 50050) as address,
                grpc.insecure_channel(address) as channel,
            ):
                stub = ExploreServiceStub(channel)
                while True:
                    page = stub.GetFeed(GetFeedRequest(user_id="1"), timeout=5.0)
                    if len(page.items) == FULL and not page.degradations:
                        return time.monotonic() - begun_s
                    said = f"{len(page.items)} items, degraded: {[entry.detail for entry in page.degradations]}"
                    time.sleep(0.2)
        except grpc.RpcError as error:
            said = f"{error.code().name}: {error.details()}"
        except ClusterError as error:
            said = str(error)
        time.sleep(0.2)
    raise ClusterError(f"no whole page within {most_s:g} s; the last answer: {said}")


def _rolled(kubectl: Kubectl, load: Load, report: Callable[[int, int], None]) -> dict[str, Any]:
    names = [item["metadata"]["name"] for item in kubectl.items(NAMESPACE, "deployment", _SERVING)]
    load.steady(_STEADY_S)
    took_s = {}
    for done, name in enumerate(sorted(names, key=lambda name: name == "gateway"), start=1):
        begun_s = time.monotonic()
        kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{name}")
        kubectl("-n", NAMESPACE, "rollout", "status", f"deployment/{name}", timeout_s=_PATIENCE_S)
        selector = f"app.kubernetes.io/name={name}"
        _wait(lambda: len(kubectl.items(NAMESPACE, "pod", selector)) == 1, f"the old pod of {name} to end")  # noqa: B023
        took_s[name] = time.monotonic() - begun_s
        report(done, len(names))
    load.steady(_STEADY_S)
    return {"restart_s": took_s, "clients": CLIENTS, **figures_of(load.lines())}


def _deleted(kubectl: Kubectl, manifests: str) -> dict[str, Any]:
    begun_s = time.monotonic()
    kubectl("delete", "-f", "-", stdin=manifests, timeout_s=_PATIENCE_S)
    took_s = time.monotonic() - begun_s
    left = kubectl("get", "--ignore-not-found", "-o", "name", "-f", "-", stdin=manifests).split()
    return {"took_s": took_s, "left": left}


def _wait(done: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + _PATIENCE_S
    while not done():
        if time.monotonic() > end_s:
            raise ClusterError(f"waited {_PATIENCE_S:g} s for {what}")
        time.sleep(0.5)


def checks_of(figures: dict[str, Any]) -> list[Check]:
    """The bounds of k8s/README.md."""
    first, again, rolling = figures["first_time"], figures["again"], figures["rolling"]
    return [
        at_most("seconds from apply to the first page, trained", again["first_page_s"], MOST_FIRST_PAGE_S),
        at_most("the first time, less the training", first["first_page_s"] - first["training_s"], MOST_FIRST_PAGE_S),
        at_least("pages while everything was restarted", rolling["pages"], 100),
        at_most("failed GetFeed", rolling["failed"], 0),
        at_most("pages that were not full", rolling["not_full"], 0),
        at_most("objects left after delete", len(figures["deleted"]["left"]), 0),
    ]


def _tables(figures: dict[str, Any]) -> Sequence[Table]:
    first, again, rolling = figures["first_time"], figures["again"], figures["rolling"]
    title = f"Kubernetes {figures['server']}, {figures['nodes']} node, {figures['runtime']}"
    times = Table(title=title, caption=figures["about"], box=box.SIMPLE_HEAD)
    times.add_column("from", justify="left")
    times.add_column("seconds", justify="right")
    times.add_row("apply to the first page, nothing there", f"{first['first_page_s']:.0f}")
    times.add_row("  of which the Job trained", f"{first['training_s']:.0f}")
    times.add_row("apply to the first page, volumes there", f"{again['first_page_s']:.1f}")
    times.add_row("apply to every Deployment available", f"{again['available_s']:.1f}")
    for name, took_s in rolling["restart_s"].items():
        times.add_row(f"restart of {name} under load, old pod gone", f"{took_s:.0f}")
    times.add_row("delete", f"{figures['deleted']['took_s']:.0f}")
    pages = Table(title=f"Pages while everything was restarted, {rolling['clients']} clients", box=box.SIMPLE_HEAD)
    for column in ("pages", "failed", "not full", "degraded", "p50 ms", "p99 ms"):
        pages.add_column(column, justify="right")
    counts = [str(rolling[name]) for name in ("pages", "failed", "not_full", "degraded")]
    pages.add_row(*counts, *(f"{rolling[name]:.0f}" for name in ("p50_ms", "p99_ms")))
    return [times, pages]


def _epoch_s(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument(
        "--overlay", type=Path, default=_OVERLAY, help="a kustomization; k8s/overlays/local if left out"
    )
    parser.add_argument("--manifests", type=Path, help="a file of objects, already rendered, instead of an overlay")
    parser.add_argument("--context", help="of the kubeconfig; the current one if left out")
    parser.add_argument("--about", type=Path, help="a file that says what a reader should know of the cluster")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

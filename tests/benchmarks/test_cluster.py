"""What the cluster benchmark counts, what its pod says, and what it says where there is no cluster."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from benchmarks import cluster, cluster_client
from benchmarks.cluster import checks_of
from benchmarks.cluster_kubectl import ClusterError, Kubectl
from benchmarks.cluster_load import figures_of, objects
from loadtests.retries import CLIENT_OPTIONS
from protos.explore.v1.feed_pb2 import Degradation, FeedItem, GetFeedRequest, GetFeedResponse
from protos.explore.v1.feed_pb2_grpc import ExploreServiceServicer, add_ExploreServiceServicer_to_server

NOWHERE = """
apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: none, context: {cluster: none}}]
current-context: none
"""


class Feed(ExploreServiceServicer):
    """Three kinds of answer, by the user."""

    def GetFeed(self, request: GetFeedRequest, context: grpc.ServicerContext) -> GetFeedResponse:
        if request.user_id == "0":
            return GetFeedResponse(items=[FeedItem(position=at) for at in range(25)])
        if request.user_id == "1":
            return GetFeedResponse(items=[FeedItem()], degradations=[Degradation(stage="rank", detail="rank: gone")])
        context.abort(grpc.StatusCode.INTERNAL, "broken")
        raise AssertionError("abort raises")


@pytest.fixture
def target() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(4))
    add_ExploreServiceServicer_to_server(Feed(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(NOWHERE)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))


def line(*took_ms: float, **said: Any) -> dict[str, Any]:
    return {"at": 0.0, "took_ms": list(took_ms), "not_full": 0, "degraded": {}, "failed": {}} | said


def test_seconds_add_up() -> None:
    lines = [line(10, 20, not_full=1), line(30, failed={"UNAVAILABLE: x": 2}), line(degraded={"rank: gone": 3})]
    found = figures_of(lines)
    assert (found["pages"], found["failed"], found["not_full"], found["degraded"]) == (5, 2, 1, 3)
    assert (found["failures"], found["degradations"]) == ({"UNAVAILABLE: x": 2}, {"rank: gone": 3})
    assert found["p50_ms"] == 20


def test_without_pages_there_is_no_latency_to_boast_of() -> None:
    assert figures_of([])["p99_ms"] >= 1e6


@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({}, []),
        ({"again": {"first_page_s": 90.1}}, ["seconds from apply to the first page, trained"]),
        ({"first_time": {"first_page_s": 150.0, "training_s": 50.0}}, ["the first time, less the training"]),
        ({"deleted": {"left": ["namespace/explore"]}}, ["objects left after delete"]),
    ],
)
def test_each_bound_can_be_missed(changed: dict[str, Any], failing: list[str]) -> None:
    figures = {
        "first_time": {"first_page_s": 60.0, "training_s": 50.0},
        "again": {"first_page_s": 18.0},
        "rolling": figures_of([line(*range(100))]),
        "deleted": {"left": []},
    }
    assert [check.name for check in checks_of(figures | changed) if not check.ok] == failing


def test_a_failed_page_is_a_failed_check() -> None:
    rolling = figures_of([line(*range(99), failed={"UNAVAILABLE: x": 1})])
    others = {"first_time": {"first_page_s": 1.0, "training_s": 0.0}, "again": {"first_page_s": 1.0}}
    checks = checks_of({**others, "rolling": rolling, "deleted": {"left": []}})
    assert [check.name for check in checks if not check.ok] == ["failed GetFeed"]


def test_the_pod_tells_pages_failures_and_degradations_apart_and_ends_on_sigterm(target: str) -> None:
    command = [sys.executable, cluster_client.__file__, target, "3", "3", "5.0", json.dumps(CLIENT_OPTIONS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seconds = [json.loads(process.stdout.readline())]
        process.send_signal(signal.SIGTERM)
        seconds += [json.loads(text) for text in process.stdout]
        assert process.wait(10) == 0
    found = figures_of(seconds)
    assert set(found["failures"]) == {"INTERNAL: broken"}
    assert set(found["degradations"]) == {"rank: gone"}
    assert 0 < found["degraded"] == found["not_full"] < found["pages"] - found["failed"]


def test_the_pod_would_be_let_into_a_restricted_namespace() -> None:
    [pod] = [item for item in objects("dns:///gateway.explore:50050")["items"] if item["kind"] == "Pod"]
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"]


@pytest.mark.usefixtures("nowhere")
def test_where_no_cluster_answers_the_call_is_named() -> None:
    with pytest.raises(ClusterError, match=r"kubectl get nodes -o json: .*127\.0\.0\.1:1"):
        Kubectl().json("get", "nodes")
    with pytest.raises(ClusterError, match=r"port-forward deployment/gateway: .*127\.0\.0\.1:1"):
        Kubectl().forwarded("explore", "deployment/gateway", 50050).__enter__()


@pytest.mark.usefixtures("nowhere")
def test_without_a_cluster_it_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cluster", "--context", "none"])
    assert cluster.main() == 2
    assert capsys.readouterr().out.startswith("error: kubectl")

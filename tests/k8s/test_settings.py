"""Every variable, port, address and file in the manifests means to the services what the manifests mean."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

import pytest

from colocated.__main__ import Neighbours, parts_of
from colocated.config import ColocatedConfig
from gateway.__main__ import EXPLORE
from gateway.config import GatewayConfig
from gateway.experiments.file import read_experiments
from prerank_svc.config import PrerankConfig
from rank_svc.config import RankConfig
from rerank_svc.config import RerankConfig
from retrieval_svc.__main__ import RETRIEVAL
from retrieval_svc.config import RetrievalConfig
from retrieval_svc.igql.files import DEFAULT_QUERY
from serving.addresses import DNS
from serving.config import PREFIX, ServiceConfig, load, variable
from serving.health import LIVE
from serving.ranking import RANKING
from serving.takedowns import read_takedowns
from tests.k8s.manifests import K8S, OVERLAYS, Cluster, Pod, overlay
from tests.k8s.settings import environment, inside, mount, server_of

CONFIGS: dict[str, type[ServiceConfig]] = {
    "gateway": GatewayConfig,
    "retrieval_svc": RetrievalConfig,
    "prerank_svc": PrerankConfig,
    "rank_svc": RankConfig,
    "rerank_svc": RerankConfig,
}
SERVED = {"gateway": EXPLORE, "retrieval_svc": RETRIEVAL}  # all others rank
PORTS = {"gateway": 50050, "retrieval": 50051, "prerank": 50052, "rank": 50053, "rerank": 50054}
MODULES = dict(zip(PORTS, CONFIGS, strict=True))
COLOCATED = "colocated"  # hosts some of them
SERVERS = [(name, pod) for name in OVERLAYS for pod in overlay(name).servers]
each_server = pytest.mark.parametrize(("name", "pod"), SERVERS, ids=[f"{name}-{pod.name}" for name, pod in SERVERS])


def module_of(pod: Pod) -> str:
    python, dash_m, module = server_of(pod)["command"]
    assert (python, dash_m) == ("python", "-m")
    return str(module)


def modules_of(cluster: Cluster, pod: Pod) -> set[str]:
    """The services that the pod's process hosts."""
    if module_of(pod) != COLOCATED:
        return {module_of(pod)}
    told = environment(cluster, pod).keys()
    return {module for service, module in MODULES.items() if f"EXPLORE_{service.upper()}_LISTEN" in told}


def read(cluster: Cluster, pod: Pod, root: Path, monkeypatch: pytest.MonkeyPatch) -> list[ServiceConfig]:
    """What each service of the process makes of its environment and files."""
    mounted = mount(cluster, pod, root)
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    for name, value in environment(cluster, pod).items():
        monkeypatch.setenv(name, inside(value, mounted))
    if module_of(pod) == COLOCATED:
        return [config for config, _ in parts_of(load(ColocatedConfig), Neighbours())]
    return [load(CONFIGS[module_of(pod)])]


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.mark.parametrize("name", OVERLAYS)
def test_all_five_services_run(name: str) -> None:
    hosted = {pod.service: modules_of(overlay(name), pod) for pod in overlay(name).servers}
    assert set().union(*hosted.values()) == set(CONFIGS)
    assert all(MODULES[service] in modules for service, modules in hosted.items())
    for module in {module_of(pod) for pod in overlay(name).servers}:
        assert import_module(f"{module}.__main__")


@each_server
def test_every_variable_is_a_setting_and_is_accepted(
    name: str, pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = {each for each in environment(overlay(name), pod) if each.startswith(PREFIX)}
    accepted = {
        field for config in read(overlay(name), pod, tmp_path, monkeypatch) for field in config.model_fields_set
    }
    if module_of(pod) == COLOCATED:
        accepted = (accepted - {"listen"}) | load(
            ColocatedConfig
        ).model_fields_set  # where each listens, it says itself
    assert ours == {variable(field) for field in accepted}


@each_server
def test_ports_are_those_that_the_process_opens(
    name: str, pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = read(overlay(name), pod, tmp_path, monkeypatch)
    opened = {"grpc" if each.service_name == pod.service else each.service_name: each.listen for each in configs}
    health = load(ColocatedConfig).health_listen if module_of(pod) == COLOCATED else configs[0].health_listen
    (metrics,) = [each.metrics_listen for each in configs if each.metrics_listen is not None]
    assert health is not None
    opened |= {"health": health, "metrics": metrics}
    assert pod.ports() == {port: port_of(address) for port, address in opened.items()}
    assert {each.service_name: port_of(each.listen) for each in configs}.items() <= PORTS.items()
    for address in opened.values():
        assert not address.startswith("127."), "nobody else could reach it"


@each_server
def test_probes_ask_the_health_port_for_what_the_process_says(name: str, pod: Pod) -> None:
    server, port = server_of(pod), pod.ports()["health"]
    asked = {kind: server[f"{kind}Probe"]["grpc"] for kind in ("startup", "liveness", "readiness")}
    assert asked["startup"] == asked["liveness"] == {"port": port, "service": LIVE}  # neither waits for a bundle
    assert asked["readiness"] == {"port": port, "service": SERVED.get(MODULES[pod.service], RANKING)}


@pytest.mark.parametrize("name", OVERLAYS)
def test_addresses_lead_to_ready_pods_of_the_right_stage(name: str) -> None:
    cluster = overlay(name)
    (gateway,) = [pod for pod in cluster.servers if pod.service == "gateway"]
    settings = environment(cluster, gateway)
    for stage, port in list(PORTS.items())[1:]:
        if MODULES[stage] in modules_of(cluster, gateway):
            continue  # tests/k8s/test_colocated.py
        reached = set[str]()
        for address in settings[f"EXPLORE_{stage.upper()}_ADDRESS"].split(";"):
            service, _, asked = address.removeprefix(DNS).rpartition(":")
            assert address.startswith(DNS), "a plain name would be one connection to one pod"
            found = cluster.named("Service")[service]["spec"]
            assert found["clusterIP"] == "None", "one virtual address would hide the pods"
            assert not found.get("publishNotReadyAddresses")
            assert [each["port"] for each in found["ports"]] == [int(asked)] == [port]
            assert [pod.ports()[found["ports"][0]["targetPort"]] for pod in cluster.behind(service)] == [port]
            assert [pod.service for pod in cluster.behind(service)] == [stage]
            reached |= {pod.name for pod in cluster.behind(service)}
        assert reached == {pod.name for pod in cluster.servers if pod.service == stage}


def test_shards_are_numbered_and_listed_in_order() -> None:
    cluster = overlay("production")
    shards = [pod for pod in cluster.servers if pod.service == "retrieval"]
    indexes = [int(environment(cluster, pod)["EXPLORE_SHARD_INDEX"]) for pod in shards]
    assert sorted(indexes) == list(range(len(shards)))
    assert {environment(cluster, pod)["EXPLORE_SHARD_COUNT"] for pod in shards} == {str(len(shards))}
    (gateway,) = [pod for pod in cluster.servers if pod.service == "gateway"]
    addresses = environment(cluster, gateway)["EXPLORE_RETRIEVAL_ADDRESS"].split(";")
    by_address = [cluster.behind(address.removeprefix(DNS).partition(":")[0]) for address in addresses]
    assert [int(pod.labels["explore-stack/shard"]) for (pod,) in by_address] == list(range(len(shards)))


def test_valkey_is_where_the_gateway_looks_for_it() -> None:
    cluster = overlay("local")
    (gateway,) = [pod for pod in cluster.servers if pod.service == "gateway"]
    host, _, port = environment(cluster, gateway)["EXPLORE_VALKEY_URL"].removeprefix("redis://").rpartition(":")
    (pod,) = cluster.behind(host)
    assert pod.ports() == {"valkey": int(port.removesuffix("/0"))}


def test_a_url_with_a_password_comes_in_a_file() -> None:
    for cluster in map(overlay, OVERLAYS):
        for pod in cluster.servers:
            assert "valueFrom" not in [key for env in server_of(pod)["env"] for key in env if "URL" in env["name"]]
            assert not any("secretRef" in source for source in server_of(pod).get("envFrom", []))
    (gateway,) = [pod for pod in overlay("production").servers if pod.service == "gateway"]
    found = environment(overlay("production"), gateway)
    assert "EXPLORE_VALKEY_URL" not in found
    assert found["EXPLORE_VALKEY_URL_FILE"] == "/etc/explore/valkey/url"


@each_server
def test_certificates_are_for_the_names_that_are_called(name: str, pod: Pod) -> None:
    if name != "production":
        assert "EXPLORE_TLS_DIRECTORY" not in environment(overlay(name), pod)
        return
    cluster = overlay(name)
    secret = pod.volumes()["tls"]["secret"]["secretName"]
    (names,) = [each["spec"]["dnsNames"] for each in cluster.of("Certificate") if each["spec"]["secretName"] == secret]
    called = [service for service in cluster.named("Service") if pod in cluster.behind(service)]
    assert {service for service in called if not service.endswith("-entry")} <= set(names)
    if pod.service != "gateway":
        assert environment(cluster, pod)["EXPLORE_TLS_PEERS"] == '["gateway"]'


@each_server
def test_files_that_change_are_seen_to_change(
    name: str, pod: Pod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kubelet replaces files of a directory, never those that were mounted one by one or under a name with a hash."""
    assert not [each for each in server_of(pod)["volumeMounts"] if "subPath" in each]
    for config in read(overlay(name), pod, tmp_path, monkeypatch):
        if isinstance(config, GatewayConfig):
            assert config.experiments is not None
            assert config.experiments.is_file()
            assert read_experiments(config.experiments).layers == ()
        if isinstance(config, GatewayConfig | RetrievalConfig):
            assert config.takedown_file is not None
            assert config.takedown_file.is_file()
            assert read_takedowns(config.takedown_file).media_ids.size == 0
        if isinstance(config, RetrievalConfig):
            assert config.igql_file.read_text() == DEFAULT_QUERY.read_text()  # a copy: kustomize reads no file outside
            assert config.igql_directory == config.igql_file.parent


@pytest.mark.parametrize("name", OVERLAYS)
def test_sourcing_and_fallback_are_told_the_same_of_what_may_be_recommended(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, told = overlay(name), list[tuple[object, ...]]()
    for pod in cluster.servers:
        for config in read(cluster, pod, tmp_path / pod.name, monkeypatch):
            if isinstance(config, GatewayConfig | RetrievalConfig):
                about_scores = (config.non_recommendable_threshold, config.missing_integrity_score)
                told.append((*about_scores, config.max_media_age_hours))
    assert len(told) >= 2
    assert len(set(told)) == 1


def test_settings_roll_the_pods_and_files_do_not() -> None:
    for cluster in map(overlay, OVERLAYS):
        names = set(cluster.named("ConfigMap"))
        assert {"queries", "experiments", "takedowns"} <= names
        assert {"settings", "gateway-settings"}.isdisjoint(names)  # they end in a hash


def test_production_answers_no_reflection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for pod in overlay("production").servers:
        (config,) = read(overlay("production"), pod, tmp_path / pod.name, monkeypatch)
        assert not config.reflection


def test_defaults_in_files_are_those_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What settings/gateway.env spells out for people to change starts as what the code would do without."""
    (gateway,) = [pod for pod in overlay("production").servers if pod.service == "gateway"]
    (config,) = read(overlay("production"), gateway, tmp_path, monkeypatch)
    lines = (K8S / "base" / "settings" / "gateway.env").read_text().splitlines()
    fields = [line.partition("=")[0].removeprefix(PREFIX).lower() for line in lines if line.startswith(PREFIX)]
    assert {field: getattr(config, field) for field in fields} == {
        field: GatewayConfig.model_fields[field].default for field in fields
    }

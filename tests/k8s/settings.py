"""The environment and the files that a container sees, made from the manifests, for the config classes of the services to read."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.k8s.manifests import Cluster, Object, Pod

# Secrets that no manifest holds, as README.md tells an operator to make them, or as cert-manager makes them of a Certificate.
HANDMADE: Mapping[str, Mapping[str, str]] = {
    "valkey": {"url": "rediss://explore:secret@valkey.example.com:6379/0\n"},
    "client-keys": {
        "keys.yaml": f"keys: {{app: {{sha256: {'ab' * 32}, per_second: 100, burst: 200, scopes: [feed, feedback]}}}}\n"
    },
}


def server_of(pod: Pod) -> Object:
    """The container that serves."""
    (found,) = [container for container in pod.spec["containers"] if container["name"] == "server"]
    return found


def environment(cluster: Cluster, pod: Pod) -> dict[str, str]:
    """The variables that Kubernetes would set, later sources over earlier ones."""
    found: dict[str, str] = {}
    container, config_maps = server_of(pod), cluster.named("ConfigMap")
    for source in container.get("envFrom", []):
        found |= config_maps[source["configMapRef"]["name"]]["data"]
    for variable in container["env"]:
        found[variable["name"]] = variable["value"] if "value" in variable else _field(pod, variable["valueFrom"])
    return found


def mount(cluster: Cluster, pod: Pod, root: Path) -> dict[str, Path]:
    """Puts the files of the server's ConfigMaps and Secrets below `root`; mount path -> where its files are."""
    volumes, config_maps, mounted = pod.volumes(), cluster.named("ConfigMap"), dict[str, Path]()
    for each in server_of(pod)["volumeMounts"]:
        directory = mounted[each["mountPath"]] = root / each["mountPath"].lstrip("/")
        directory.mkdir(parents=True)
        volume = volumes[each["name"]]
        if "configMap" in volume:
            files = config_maps[volume["configMap"]["name"]]["data"]
        elif "secret" in volume:
            files = _secret(cluster, volume["secret"]["secretName"])
        else:
            continue
        for name, text in files.items():
            (directory / name).write_text(text)
    return mounted


def inside(value: str, mounted: Mapping[str, Path]) -> str:
    """A path of the container as one of this machine; anything else as it is."""
    for path, directory in mounted.items():
        if value == path or value.startswith(f"{path}/"):
            return str(directory) + value.removeprefix(path)
    return value


def _field(pod: Pod, source: Object) -> str:
    path: str = source["fieldRef"]["fieldPath"]
    return pod.labels[path.removeprefix("metadata.labels['").removesuffix("']")]


def _secret(cluster: Cluster, name: str) -> Mapping[str, str]:
    certified = {certificate["spec"]["secretName"] for certificate in cluster.of("Certificate")}
    return _certificate() if name in certified else HANDMADE[name]


@cache
def _certificate() -> Mapping[str, str]:
    """As cert-manager writes one, of an authority that is itself."""
    with TemporaryDirectory() as directory:
        key, certificate = Path(directory) / "tls.key", Path(directory) / "tls.crt"
        command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-days", "1", "-subj", "/CN=explore", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return {"tls.key": key.read_text(), "tls.crt": certificate.read_text(), "ca.crt": certificate.read_text()}

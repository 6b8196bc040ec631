"""kubectl as functions: what goes wrong becomes a ClusterError with kubectl's own words. Knows no overlay and no benchmark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_CALL_S = 60.0
_FORWARDING = re.compile(r"Forwarding from (127\.0\.0\.1:\d+)")


class ClusterError(Exception):
    """The cluster, or kubectl, refused; the text says what."""


class Kubectl:
    """Calls to the cluster of one kubeconfig context; None is the current one."""

    def __init__(self, context: str | None = None) -> None:
        beside = Path(sys.executable).parent / "kubectl"  # of the `dev` extra
        found = str(beside) if beside.exists() else shutil.which("kubectl")
        if found is None:
            raise ClusterError("there is no kubectl: `make setup` installs one into the environment")
        self._command = (found, *(("--context", context) if context else ()))

    def __call__(self, *arguments: str, stdin: str | None = None, timeout_s: float = _CALL_S) -> str:
        """What kubectl printed. Raises ClusterError if it exits with another status than 0 or not in time."""
        said = " ".join(["kubectl", *arguments])
        try:
            done = subprocess.run(
                [*self._command, *arguments],
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"{said}: no end within {timeout_s:g} s") from error
        if done.returncode:
            raise ClusterError(f"{said}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        """The same, of a call that can answer in JSON."""
        answer: dict[str, Any] = json.loads(self(*arguments, "-o", "json"))
        return answer

    def items(self, namespace: str, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind in a namespace, or those with such labels."""
        found: list[dict[str, Any]] = self.json("-n", namespace, "get", kind, "-l", selector)["items"]
        return found

    @contextmanager
    def forwarded(self, namespace: str, to: str, port: int) -> Iterator[str]:
        """127.0.0.1 and a free port that leads to a port of `to`, such as deployment/gateway, while the block runs."""
        command = [*self._command, "-n", namespace, "port-forward", to, f":{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            found = _FORWARDING.search(process.stdout.readline())
            if found is None:
                raise ClusterError(f"kubectl port-forward {to}: {process.stderr.read().strip()}")
            yield found[1]
        finally:
            process.terminate()
            process.communicate(timeout=_CALL_S)

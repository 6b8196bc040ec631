"""Two ways to run one replica of a service: as a container of the serve image, or as a process. Knows no fleet and no load.

Containers get what restricted pod security leaves them: no root user, no capabilities, a read-only root with /tmp in memory.
They share the host's network, so that both ways listen on 127.0.0.1.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

IMAGE = "explore-serve:local"
COMMANDS = ("podman", "docker")
PROCESS = "process"
USER = 10001
CONFINED = (
    *("--network=host", "--read-only", "--tmpfs=/tmp", f"--user={USER}"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
)
BUNDLES = "/var/explore/bundles"  # where the image looks for them
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Replica:
    """A service that was started: its process, or the engine's, which hands signals and exit code on."""

    log: Path
    process: subprocess.Popen[bytes]
    kill: tuple[str, ...] = ()  # the command that kills it, where killing the process would not

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def terminate(self) -> None:
        """Sends SIGTERM if it still runs, and returns at once."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> int:
        """The exit code once it has ended. What does not end in time is killed, which no exit code of 0 hides."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            if self.kill:
                subprocess.run(self.kill, capture_output=True, check=True, timeout=_PATIENCE_S)
            else:
                self.process.kill()
            return self.process.wait(_PATIENCE_S)


class Engine(Protocol):
    """Starts replicas."""

    @property
    def name(self) -> str: ...

    def start(self, replica: str, service: str, settings: Mapping[str, str]) -> Replica:
        """Starts `python -m SERVICE` with the EXPLORE_ variables of `settings`; it is not ready yet."""
        ...


@dataclass(frozen=True)
class Processes:
    """Replicas as processes of this interpreter, on the bundles in `bundle_root`."""

    bundle_root: Path
    logs: Path
    name: str = PROCESS

    def start(self, replica: str, service: str, settings: Mapping[str, str]) -> Replica:
        told = {"EXPLORE_BUNDLE_ROOT": str(self.bundle_root.resolve()), **settings}
        # `env` becomes the interpreter: one process, with these settings on top of our own environment.
        command = ["/usr/bin/env", *(f"{name}={value}" for name, value in told.items()), sys.executable, "-m", service]
        log = self.logs / f"{replica}.log"
        return Replica(log, spawn(command, log))


@dataclass(frozen=True)
class Containers:
    """Replicas as containers of the serve image, run by the command `name`, on bundles that they cannot write to."""

    bundle_root: Path
    logs: Path
    name: str

    def start(self, replica: str, service: str, settings: Mapping[str, str]) -> Replica:
        container = f"explore-{replica}-{uuid4().hex[:8]}"
        mount = f"--volume={self.bundle_root.resolve()}:{BUNDLES}:ro"
        told = (f"--env={name}={value}" for name, value in settings.items())
        run = [self.name, "run", "--rm", f"--name={container}", *CONFINED, mount, *told]
        log = self.logs / f"{replica}.log"
        return Replica(log, spawn([*run, IMAGE, "python", "-m", service], log), (self.name, "kill", container))


def container_command() -> str | None:
    """The first of podman and docker that holds the serve image; None if neither does."""
    return next((command for command in COMMANDS if shutil.which(command) and _holds_image(command)), None)


def image_revision(command: str, image: str = IMAGE) -> str:
    """The commit that an image was made of, as `checkout_revision` writes it."""
    return image_property(command, '{{index .Config.Labels "org.opencontainers.image.revision"}}', image)


def checkout_revision() -> str:
    """The commit of this checkout, with "-dirty" if files differ from it."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    return subprocess.run(
        describe, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    ).stdout.strip()


def image_property(command: str, template: str, image: str = IMAGE) -> str:
    """What `image inspect` says, by a Go template."""
    inspect = [command, "image", "inspect", "--format", template, image]
    return subprocess.run(inspect, capture_output=True, text=True, check=True, timeout=_PATIENCE_S).stdout.strip()


def _holds_image(command: str) -> bool:
    return subprocess.run([command, "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0


def spawn(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Appends to the log. In a session of its own, so that a Ctrl-C in the terminal reaches only us."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

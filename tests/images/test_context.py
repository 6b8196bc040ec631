"""What goes into a build, without building: all that is installed, and nothing that only lies beside it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from cli.stack import GRPC_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NOT_INSTALLED = {"benchmarks"}  # packages of a checkout alone


def test_the_build_context_holds_every_package_that_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    sent = {line[1:] for line in IGNORED if line.startswith("!")}
    assert sent == packages - NOT_INSTALLED | {"pyproject.toml", "README.md", "LICENSE"}
    assert "*" in IGNORED  # all else stays out: data, environments, .git


def test_what_a_build_may_be_told_is_handed_on_by_make() -> None:
    handed_on = re.search(r"^BUILD_ARGS\s*:=\s*(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert handed_on is not None
    told = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))
    assert set(handed_on[1].split()) == told - {"BASE", "PYTHON"}  # these depend on each other: by IMAGE_FLAGS


def test_services_run_grpc_in_an_image_as_explore_up_runs_it() -> None:
    serve = DOCKERFILE.split("FROM base AS serve\n")[1]
    assert {name: re.findall(rf"\b{name}=(\S+)", serve) for name in GRPC_ENVIRONMENT} == {
        name: [value] for name, value in GRPC_ENVIRONMENT.items()
    }


def test_no_stage_of_an_image_ends_as_root() -> None:
    for stage in ("train", "serve"):
        body = DOCKERFILE.split(f"FROM base AS {stage}\n")[1].split("\nFROM ")[0]
        assert re.findall(r"^USER (.*)$", body, re.MULTILINE)[-1] == "10001:10001"


def test_no_stage_that_is_shipped_takes_settings_of_a_mirror_or_runs_anything() -> None:
    assert "\nRUN " not in DOCKERFILE.split(" AS base\n")[1]
    assert re.findall(r"^ARG (\w+)", DOCKERFILE.split(" AS base\n")[1], re.MULTILINE) == ["BASE"]


def test_make_gives_images_the_name_that_people_type_and_the_one_that_a_pod_asks_for() -> None:
    """podman takes `explore-serve:local` for an image of localhost, Kubernetes for one of docker.io/library."""
    make = ["make", "--no-print-directory", "images", "IMAGES=serve", "ENGINE=echo"]
    told = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    tags = set(re.findall(r"--tag (\S+)", told))
    assert tags == {"explore-serve:local", "docker.io/library/explore-serve:local"}


def test_both_images_can_have_further_extras() -> None:
    """The one that trains pushes to the storage that the one that serves reads from."""
    for stage in ("serve", "train"):
        body = DOCKERFILE.split(f"FROM builder AS {stage}-builder\n")[1].split("\nFROM ")[0]
        assert "ARG EXTRAS=serve\n" in body
        assert body.index("ARG EXTRAS") < body.index("$EXTRAS]")

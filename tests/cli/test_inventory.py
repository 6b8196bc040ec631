"""The bill of materials of the serving images: complete, pinned as pyproject.toml says, and without what only training needs."""

from __future__ import annotations

import json
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from cli.errors import CommandError
from cli.inventory import bill, parts_of, pins, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def test_the_serving_images_hold_what_is_pinned_and_what_that_needs(project: dict[str, Any]) -> None:
    parts = {part.name: part for part in parts_of(project, "serve")}
    pinned = dict(line.split("==") for line in (*project["dependencies"], *project["optional-dependencies"]["serve"]))
    assert {name: parts[name].version for name in pinned} == pinned
    assert parts["pydantic-core"].version == metadata.version("pydantic-core")  # named nowhere, needed all the same
    assert "pydantic-core" in parts["pydantic"].needs
    assert parts.keys().isdisjoint({"torch", "onnxscript", "pytest", "cryptography", "explore-stack"})
    assert all(need in parts for part in parts.values() for need in part.needs)


def test_an_extra_of_extras_is_followed(project: dict[str, Any]) -> None:
    serve, cli = ({part.name for part in parts_of(project, extra)} for extra in ("serve", "cli"))
    assert serve | {"torch", "typer"} <= cli


def test_the_bill_names_every_part_with_its_licence_and_needs(project: dict[str, Any]) -> None:
    parts = parts_of(project, "serve")
    made = json.loads(bill(project, parts))
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made["metadata"]["component"]["name"] == "explore-stack"
    urls = [f"pkg:pypi/{part.name}@{part.version}" for part in parts]
    assert [each["purl"] for each in made["components"]] == urls
    assert all(each["licenses"] for each in made["components"])
    needs = {each["ref"]: each.get("dependsOn", []) for each in made["dependencies"]}
    pydantic = f"pkg:pypi/pydantic@{metadata.version('pydantic')}"
    assert f"pkg:pypi/pydantic-core@{metadata.version('pydantic-core')}" in needs[pydantic]


@pytest.mark.parametrize(
    ("dependency", "problem"),
    [("numpy==1.0", r"numpy==1\.0 is not what is installed, which is"), ("no-such==1", "no-such==1 is not installed")],
)
def test_an_environment_that_is_not_what_is_pinned_is_refused(dependency: str, problem: str) -> None:
    project = {"name": "x", "version": "1", "dependencies": [dependency], "optional-dependencies": {"serve": []}}
    with pytest.raises(CommandError, match=problem):
        parts_of(project, "serve")
    with pytest.raises(CommandError, match="there is no extra 'serving'"):
        parts_of(project, "serving")


def test_pins_are_written_for_the_audit(
    project: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    write(tmp_path / "made" / "pins.txt", as_pins=True)
    assert (tmp_path / "made" / "pins.txt").read_text() == pins(parts_of(project, "serve"))
    write(tmp_path / "sbom.json")
    assert json.loads((tmp_path / "sbom.json").read_text())["components"]

"""What an image is made of: every package behind one extra of pyproject.toml, as it is installed here, and as a CycloneDX bill.

`python -m cli.inventory` is what `make sbom` and `make audit` run. Knows no vulnerabilities: pip-audit does.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cli.errors import CommandError

_REPAIR = "`make setup` installs what pyproject.toml says"


@dataclass(frozen=True)
class Part:
    """One installed package; `needs` are the names of those that it depends on here."""

    name: str
    version: str
    license: str
    needs: tuple[str, ...]


def parts_of(project: Mapping[str, Any], extra: str) -> list[Part]:
    """Every package behind the project and the extra, by name. `project` is pyproject.toml's table of that name.

    Raises CommandError if one is not installed, or in a version that is not the one asked for.
    """
    extras: Mapping[str, list[str]] = project["optional-dependencies"]
    if extra not in extras:
        raise CommandError(f"there is no extra {extra!r}", f"one of {', '.join(sorted(extras))}")
    found: dict[str, Part] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(line) for line in (*project["dependencies"], *extras[extra])]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name == canonicalize_name(project["name"]):  # an extra that names others of this project
            waiting += [Requirement(line) for other in wanted.extras for line in extras[other]]
            continue
        for asked in {"", *wanted.extras}:
            if (name, asked) in seen:
                continue
            seen.add((name, asked))
            part, needs = _installed(name, wanted, asked)
            before = found.get(name)
            known = set(before.needs) if before is not None else set[str]()
            found[name] = Part(part.name, part.version, part.license, tuple(sorted(known | set(part.needs))))
            waiting += needs
    return [found[name] for name in sorted(found)]


def bill(project: Mapping[str, Any], parts: Iterable[Part]) -> str:
    """CycloneDX 1.6, JSON."""
    licenses = LicenseFactory()
    root = Component(name=project["name"], version=project["version"], type=ComponentType.APPLICATION)
    root.licenses.add(licenses.make_from_string(project["license"]))
    bom, components = Bom(), dict[str, Component]()
    bom.metadata.component = root
    listed = list(parts)
    for part in listed:
        url = PackageURL("pypi", None, part.name, part.version)
        made = Component(name=part.name, version=part.version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url))
        if part.license:
            made.licenses.add(licenses.make_from_string(part.license))
        components[part.name] = made
        bom.components.add(made)
    bom.register_dependency(root, components.values())
    for part in listed:
        bom.register_dependency(components[part.name], [components[name] for name in part.needs])
    return JsonV1Dot6(bom).output_as_string(indent=2)


def pins(parts: Iterable[Part]) -> str:
    """NAME==VERSION, one a line, as pip-audit takes them."""
    return "".join(f"{part.name}=={part.version}\n" for part in parts)


def _installed(name: str, wanted: Requirement, extra: str) -> tuple[Part, list[Requirement]]:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise CommandError(f"{wanted} is not installed", _REPAIR) from None
    if not wanted.specifier.contains(found.version, prereleases=True):
        raise CommandError(f"{wanted} is not what is installed, which is {found.version}", _REPAIR)
    needs = [Requirement(line) for line in found.requires or ()]
    needs = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    names = tuple(sorted({canonicalize_name(need.name) for need in needs}))
    return Part(name, found.version, _license(found), names), needs


def _license(found: metadata.Distribution) -> str:
    """What the package says of itself; "" if it says nothing. Some put the whole text there, which is no name."""
    fields: Message = found.metadata  # type: ignore[assignment]
    for said in (fields.get("License-Expression"), fields.get("License")):
        if said and "\n" not in said and len(said) <= 100:
            return said
    named = [line.split(" :: ")[-1] for line in fields.get_all("Classifier", []) if line.startswith("License :: ")]
    return ", ".join(named)


def write(
    output: Annotated[Path, typer.Argument(help="File to write.")],
    extra: Annotated[str, typer.Option(help="Extra of pyproject.toml.")] = "serve",
    as_pins: Annotated[bool, typer.Option("--pins", help="NAME==VERSION lines instead of CycloneDX JSON.")] = False,
) -> None:
    """Write the bill of materials of an extra."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    try:
        parts = parts_of(project, extra)
    except CommandError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(pins(parts) if as_pins else bill(project, parts), encoding="utf-8")
    typer.echo(f"{len(parts)} packages of {extra!r} in {output}")


if __name__ == "__main__":
    typer.run(write)

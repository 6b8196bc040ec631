"""Writes a report: figures and `index.html` next to each other, readable from disk without a network."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import jinja2
from rich.console import Console

from bundles.manifest import Manifest
from cli.commands.train import metrics_tables
from cli.report.measure import Findings
from cli.report.sections import sections

INDEX = "index.html"
_TEMPLATE = "page.html.j2"


def write(found: Findings, folder: Path) -> Path:
    """The page in `folder`, which is made if need be; files of the same names are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(resources.files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    page = folder / INDEX
    html = template.render(
        version=found.manifest.version,
        facts=_facts(found.manifest),
        trained=_trained(found.manifest),
        sections=sections(found, folder),
    )
    page.write_text(html, encoding="utf-8")
    return page


def _facts(manifest: Manifest) -> dict[str, str]:
    examples = manifest.metrics.get("examples")
    counts = examples if isinstance(examples, dict) else {}
    return {
        "data set": manifest.dataset,
        "log until": _moment(manifest.as_of_ms),
        "trained on": f"{_moment(manifest.training_window_start_ms)} to {_moment(manifest.training_window_end_ms)}",
        "examples": ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()) or "unknown",
        "tasks": ", ".join(manifest.tasks),
        "value weights": ", ".join(f"{task} {weight:g}" for task, weight in manifest.value_weights["default"].items()),
        "made": f"{_moment(manifest.created_at_ms)} by `{manifest.command}`",
        "parent": manifest.parent or "none",
        "libraries": ", ".join(f"{name} {version}" for name, version in manifest.library_versions.items()),
        "feature schema": manifest.schema_fingerprint[:12],
    }


def _trained(manifest: Manifest) -> str:
    """The tables that `explore train` printed, as text; nothing for a manifest that says less."""
    if not {"rerank", "rank", "funnel", "funnel_popularity_prerank", "examples"} <= set(manifest.metrics):
        return ""
    text = io.StringIO()
    Console(file=text, width=120).print(metrics_tables(manifest), highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _moment(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"

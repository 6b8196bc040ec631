"""Style decisions as tests: sizes, typed signatures, docstrings, who reads the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = (
    *("bundles", "features", "serving", "gateway", "training", "cli", "loadtests", "benchmarks"),
    *("retrieval_svc", "prerank_svc", "rank_svc", "rerank_svc", "colocated"),
)
MAX_FILE, MAX_FUNCTION, MAX_CONSTRUCTOR = 400, 60, 6
EXEMPT = {
    ROOT / "serving" / "config.py": "the config module",
    ROOT / "cli" / "processes.py": "hands the environment on to child processes",
    ROOT / "cli" / "main.py": "sets how OpenMP waits, before torch is loaded",
}
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "misc"}


def _files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", _files(*CODE, "tests"), ids=_id)
def test_a_file_fits_into_a_head(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_FILE


@pytest.mark.parametrize("path", _files(*CODE, "tests"), ids=_id)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    long = [f.name for f in _functions(path) if (f.end_lineno or f.lineno) - f.lineno + 1 > MAX_FUNCTION]
    assert long == []


@pytest.mark.parametrize("path", _files(*CODE), ids=_id)
def test_a_module_says_what_it_knows(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", _files(*CODE), ids=_id)
def test_a_constructor_takes_few_things(path: Path) -> None:
    wide = [f.lineno for f in _functions(path) if f.name == "__init__" and len(f.args.args) - 1 > MAX_CONSTRUCTOR]
    assert wide == []


@pytest.mark.parametrize("path", _files(*CODE), ids=_id)
def test_no_room_is_called_after_its_clutter(path: Path) -> None:
    assert FORBIDDEN_NAMES.isdisjoint({*path.relative_to(ROOT).parts[:-1], path.stem})


@pytest.mark.parametrize("path", _files(*CODE), ids=_id)
def test_only_the_config_module_reads_the_environment(path: Path) -> None:
    if path in EXEMPT:
        pytest.skip(EXEMPT[path])
    reads = {"environ", "getenv"}
    names = {n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute)}
    assert names.isdisjoint(reads)


def test_every_ranking_service_has_the_same_files() -> None:
    layouts = {
        service: sorted(p.name for p in (ROOT / service).iterdir() if p.is_file())
        for service in ("prerank_svc", "rank_svc", "rerank_svc")
    }
    assert layouts["prerank_svc"] == layouts["rank_svc"] == layouts["rerank_svc"]

"""Style decisions as tests: sizes, typed signatures, docstrings, who reads the environment."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

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


FILES = _files(*CODE)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(_tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _places(found: Iterable[tuple[Path, object]]) -> list[str]:
    return [f"{path.relative_to(ROOT)}: {what}" for path, what in found]


def test_every_folder_has_files() -> None:
    """What walks over no files finds nothing wrong with them."""
    assert all(_files(folder) for folder in (*CODE, "tests"))


def test_a_file_fits_into_a_head() -> None:
    sizes = ((path, len(path.read_text().splitlines())) for path in (*FILES, *_files("tests")))
    assert _places((path, size) for path, size in sizes if size > MAX_FILE) == []


def test_a_function_fits_on_a_screen() -> None:
    functions = ((path, f) for path in (*FILES, *_files("tests")) for f in _functions(path))
    long = ((path, f.name) for path, f in functions if (f.end_lineno or f.lineno) - f.lineno + 1 > MAX_FUNCTION)
    assert _places(long) == []


def test_a_module_says_what_it_knows() -> None:
    assert _places((path, "no docstring") for path in FILES if not ast.get_docstring(_tree(path))) == []


def test_a_constructor_takes_few_things() -> None:
    constructors = ((path, f) for path in FILES for f in _functions(path) if f.name == "__init__")
    assert _places((path, f.lineno) for path, f in constructors if len(f.args.args) - 1 > MAX_CONSTRUCTOR) == []


def test_no_room_is_called_after_its_clutter() -> None:
    named = ((path, {*path.relative_to(ROOT).parts[:-1], path.stem} & FORBIDDEN_NAMES) for path in FILES)
    assert _places((path, names) for path, names in named if names) == []


def test_only_the_config_module_reads_the_environment() -> None:
    attributes = ((path, n) for path in FILES for n in ast.walk(_tree(path)) if isinstance(n, ast.Attribute))
    reads = {(path, n.attr) for path, n in attributes if n.attr in {"environ", "getenv"}}
    assert _places(sorted((path, read) for path, read in reads if path not in EXEMPT)) == []


def test_every_ranking_service_has_the_same_files() -> None:
    layouts = {
        service: sorted(p.name for p in (ROOT / service).iterdir() if p.is_file())
        for service in ("prerank_svc", "rank_svc", "rerank_svc")
    }
    assert layouts["prerank_svc"] == layouts["rank_svc"] == layouts["rerank_svc"]

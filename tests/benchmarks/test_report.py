"""Results of benchmarks: bounds, the JSON, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.report import Result, at_least, at_most, finish


@pytest.mark.parametrize(("value", "ok"), [(2.0, True), (1.99, False), (float("nan"), False)])
def test_a_lower_bound_holds_or_fails(value: float, ok: bool) -> None:
    assert at_least("x", value, 2.0).ok is ok


@pytest.mark.parametrize(("value", "ok"), [(2.0, True), (2.01, False), (float("nan"), False)])
def test_an_upper_bound_holds_or_fails(value: float, ok: bool) -> None:
    assert at_most("x", value, 2.0).ok is ok


def test_a_failed_check_is_an_exit_status(tmp_path: Path) -> None:
    good, bad = at_least("a", 3, 2), at_least("b", 1, 2)
    passed, failed = Result("n", "c", {}, [good]), Result("n", "c", {}, [good, bad])
    assert (finish(passed, tmp_path, None), finish(failed, tmp_path, None)) == (0, 1)


def test_the_result_tells_command_machine_versions_and_checks(tmp_path: Path) -> None:
    finish(Result("n", "python -m benchmarks.n", {"x": 1}, [at_least("a", 3, 2)]), tmp_path, None)
    result = json.loads((tmp_path / "n.json").read_text())
    assert (result["command"], result["figures"]) == ("python -m benchmarks.n", {"x": 1})
    assert result["machine"]["cores"] > 0
    assert result["checks"] == [{"name": "a", "value": 3, "bound": ">= 2", "ok": True}]


def test_the_document_shows_the_tables_and_names_the_figures(tmp_path: Path) -> None:
    finish(Result("n", "python -m benchmarks.n", {}, [at_least("the check", 3, 2)]), tmp_path, tmp_path)
    document = (tmp_path / "n.md").read_text()
    assert "the check" in document
    assert "benchmarks/results/n.json" in document

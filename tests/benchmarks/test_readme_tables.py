"""The README's tables are those of the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.marked_text import part_of
from benchmarks.readme import DOCUMENT, TABLES, table
from benchmarks.readme_tables import kuairand, worlds
from benchmarks.report import Result, finish


def between(mean: float, low: float, high: float) -> dict[str, float]:
    return {"mean": mean, "low": low, "high": high}


def run(seed: int, popularity: float) -> dict[str, Any]:
    value, ratio = between(popularity, popularity - 0.1, popularity + 0.1), between(4.04, 3.96, 4.16)
    pages = [
        {"page": "random eligible", "value": between(-0.104, -0.15, -0.05), "ratio": None},
        {"page": "popularity", "value": value, "ratio": ratio},
        {"page": "cascade", "value": between(4.279, 4.087, 4.464), "ratio": None},
    ]
    return {"seed": seed, "pages": pages, "funnel_value": between(0.99986, 0.9, 1.0)}


def task(positives: int, auc: float) -> dict[str, Any]:
    spread = {"mean": auc, "min": auc - 0.01, "max": auc + 0.01}
    return {"positives": positives, "base_rate": 0.45479, "rerank": spread, "rank": {**spread, "mean": auc - 0.001}}


FIGURES: dict[str, dict[str, Any]] = {
    "quality": {"runs": [run(1, 0.871), run(7, 1.142)]},
    "kuairand": {"tasks": {"click": task(24_935, 0.73473), "like": task(973, 0.83090)}},
}


@pytest.mark.parametrize("name", TABLES)
def test_the_readme_shows_what_was_recorded(name: str) -> None:
    assert part_of(DOCUMENT, name) == table(name), "run python -m benchmarks.readme"


def test_a_world_has_a_row_whatever_the_order_of_its_pages() -> None:
    assert worlds(FIGURES["quality"]).splitlines()[2:] == [
        "| 1 | 4.28 [4.09, 4.46] | 0.87 [0.77, 0.97] | -0.10 [-0.15, -0.05] | 4.0 [4.0, 4.2] | 0.9999 |",
        "| 7 | 4.28 [4.09, 4.46] | 1.14 [1.04, 1.24] | -0.10 [-0.15, -0.05] | 4.0 [4.0, 4.2] | 0.9999 |",
    ]


def test_a_task_has_a_row_with_both_rankers() -> None:
    assert kuairand(FIGURES["kuairand"]).splitlines()[2:] == [
        "| click | 24,935 | 0.4548 | 0.7347 [0.7247, 0.7447] | 0.7337 [0.7247, 0.7447] |",
        "| like | 973 | 0.4548 | 0.8309 [0.8209, 0.8409] | 0.8299 [0.8209, 0.8409] |",
    ]


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_as_many_cells_as_there_are_titles(name: str) -> None:
    titles, _, *rows = TABLES[name](FIGURES[name]).splitlines()
    assert rows
    assert {row.count("|") for row in rows} == {titles.count("|")}


def test_what_was_not_run_is_named_and_nothing_is_made_up(tmp_path: Path) -> None:
    assert table("kuairand", tmp_path) == "Not recorded yet: `python -m benchmarks.kuairand`."
    finish(Result("kuairand", "python -m benchmarks.kuairand DIR", FIGURES["kuairand"], []), tmp_path, None)
    assert json.loads((tmp_path / "kuairand.json").read_text("utf-8"))
    assert table("kuairand", tmp_path) == kuairand(FIGURES["kuairand"])

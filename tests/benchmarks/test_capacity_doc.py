"""The generated part of the capacity guide."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.capacity_doc import DOCUMENT, MARK, planned_for, tables_of, write_doc
from benchmarks.capacity_plan import Assumptions
from cli.stack import SERVICES
from tests.benchmarks.test_capacity_model import costs

BEGIN, END = f"<!-- {MARK}: begin -->", f"<!-- {MARK}: end -->"
PROCESSES = (*SERVICES, "valkey")


def result() -> dict[str, Any]:
    """As benchmarks.capacity writes it, and JSON gives it back."""
    times = {"p50": 50.0, "p99": 99.0}
    figures = {
        "costs": asdict(costs()),
        "cpu_ms_at_load": dict.fromkeys(PROCESSES, 4.0),
        "bytes": {name: [1000.0, 500.0] for name in PROCESSES},
        "memory": {name: {"fixed_mb": 50.0, "mb_per_million": 300.0} for name in SERVICES},
        "load": [
            {
                "share": 0.5,
                "rate": 20.0,
                "pace": 1.04,
                "measured": times,
                "simulated": times,
                "error": {"p50": 0.0, "p99": -0.1},
            }
        ],
        "by_utilisation": [{"utilisation": 0.6, **times}],
    }
    about = {"command": "python -m benchmarks.capacity", "commit": "abc", "machine": {"processor": "P", "cores": 2}}
    return dict(json.loads(json.dumps({**about, "figures": figures})))


@pytest.fixture
def document(tmp_path: Path) -> Path:
    (tmp_path / "capacity.md").write_text(DOCUMENT.read_text("utf-8"), "utf-8")
    return tmp_path / "capacity.md"


def test_figures_stand_between_the_marks_and_replace_those_before(document: Path) -> None:
    prose = DOCUMENT.read_text("utf-8").split(BEGIN)[0]
    write_doc(result(), Assumptions(), document)
    first = document.read_text("utf-8")
    write_doc(result(), Assumptions(), document)
    assert document.read_text("utf-8") == first
    assert first.startswith(prose)
    assert first.rstrip().endswith(END)
    for name in PROCESSES:
        assert f"| {name} |" in first
    assert "| pages a second | 128,571 |" in first
    assert "abc, on P, 2 cores" in first


def test_assumptions_change_the_plan_and_no_measurement(document: Path) -> None:
    write_doc(result(), Assumptions(price_per_core_hour=0.0, media_millions=100.0), document)
    text = document.read_text("utf-8")
    assert "at 0 a core and hour | 0 |" in text
    assert planned_for(result()["figures"], Assumptions(media_millions=100.0)).services["retrieval_svc"].shards == 4


def test_a_document_without_its_marks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "capacity.md").write_text(f"{END} {BEGIN}", "utf-8")
    with pytest.raises(ValueError, match=r"capacity\.md must hold"):
        write_doc(result(), Assumptions(), tmp_path / "capacity.md")
    assert (tmp_path / "capacity.md").read_text("utf-8") == f"{END} {BEGIN}"


def test_a_terminal_gets_the_same_tables() -> None:
    shown = tables_of(result()["figures"], Assumptions())
    assert shown[0].title == "A page, by process"
    assert len(shown) == 8

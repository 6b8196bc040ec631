"""The README's figures are those of the results: every sentence, from results that the report code has written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cluster, cluster_load, load, overload, rollout, scaling
from benchmarks.cascade_checks import checks_of
from benchmarks.load_stack import Ran
from benchmarks.marked_text import part_of
from benchmarks.readme import DOCUMENT, MARK, SENTENCES, TABLES, main, paragraph
from benchmarks.report import Check, Result, at_least, finish
from tests.benchmarks.test_cascade import _figures as cascade_figures
from tests.benchmarks.test_rollout import FIRST, SECOND, page

RANKING = ("prerank_svc", "rank_svc", "rerank_svc")


def scaling_figures() -> dict[str, Any]:
    costs = {"100,000 media": 10.0, "5,000,000 media": 12.5, "250 candidates": 8.0, "1000 candidates": 16.0}
    costs |= {"1 callers": 10.0, "32 callers": 8.0, "1 replicas": 10.0, "2 replicas": 11.0}
    return {
        "media": [100_000, 5_000_000],
        "samples": {name: [{"cpu_ms": cost}] for name, cost in costs.items()},
        "ready_s": {"5000000": dict.fromkeys(RANKING, 1.25)},
    }


def load_figures() -> dict[str, Any]:
    seen = {"requests": 12_000, "failed": 0, "pages_asked": 8_000, "pages_full": 8_000, "pages_degraded": 1}
    verdict = {"figures": {**seen, "page_p99_ms": 240.0}}
    ran = Ran(verdict, 300.0, 60.0, {"gateway": 100.0}).as_json()
    memory = {"gateway": load.growth([100.0] * 9 + [101.0] * 11)}
    return {"saturation": 50, "rate": 40, "run": ran, "soak": {**ran, "rate": 30, "seconds": 900.0, "memory": memory}}


def telemetry_figures() -> dict[str, Any]:
    lost, cpu = {"median": 0.021, "min": -0.005, "max": 0.04}, {"median": 0.019, "min": 0.01, "max": 0.03}
    return {"trace_share": 0.01, "on": {"lost": lost, "more_cpu": cpu}}


def overload_figures() -> dict[str, Any]:
    spreads = {"goodput_ratio_per_core_left": 0.93, "page_p99_ms": 700.0, "degraded_share": 0.01, "recovery_s": 0.4}
    found = {name: dict.fromkeys(("median", "min", "max"), value) for name, value in spreads.items()}
    return {**found, "server": {"shed_p99_ms": 1.0}, "failed_share": 0.0}


def rollout_figures() -> dict[str, Any]:
    pages = [page(11.0), page(12.0, degraded="rank"), page(99.0)]
    return {"replicas": 2, "first_page_s": 4.96, "unclean_exits": 0, **rollout.figures_of(pages, [FIRST, SECOND])}


def cluster_figures() -> dict[str, Any]:
    second = {"at": 0.0, "took_ms": [20.0] * 200, "not_full": 0, "degraded": {"rank: gone": 1}, "failed": {}}
    first, again = {"first_page_s": 60.0, "training_s": 50.0}, {"first_page_s": 18.27}
    figures = {"server": "v1.33.1", "first_time": first, "again": again, "deleted": {"left": []}}
    return {**figures, "rolling": cluster_load.figures_of([second])}


def recorded(cascade_ms: float = 4.4) -> dict[str, tuple[Mapping[str, Any], list[Check]]]:
    """Figures and checks of every benchmark."""
    cascade = cascade_figures(cascade_ms, 0)
    return {
        "cascade": (cascade, checks_of(cascade)),
        "scaling": (scaling_figures(), scaling._checks(scaling_figures())),
        "load": (load_figures(), load._checks(load_figures())),
        "overload": (overload_figures(), overload.checks_of(overload_figures())),
        "telemetry": (telemetry_figures(), []),
        "rollout": (rollout_figures(), rollout._checks(rollout_figures())),
        "cluster": (cluster_figures(), cluster.checks_of(cluster_figures())),
    }


def write(directory: Path, **results: tuple[Mapping[str, Any], list[Check]]) -> Path:
    for name, (figures, checks) in results.items():
        finish(Result(name, f"python -m benchmarks.{name} --home PATH", figures, checks), directory, None)
    return directory


def said(directory: Path) -> str:
    return " ".join(paragraph(directory).split())


def test_the_readme_says_what_the_results_say() -> None:
    assert part_of(DOCUMENT, MARK) == paragraph(), "run python -m benchmarks.readme"


def test_every_result_has_its_sentence(tmp_path: Path) -> None:
    text = said(write(tmp_path, **recorded()))
    for sentence in (
        "spend 1.10 times the CPU of the same stages in one process without RPC, which serve 2.5 times as many pages",
        "The services make 100% of the pages that one server process per core makes. A lone caller has a page in 7 ms (median);",
        "at 80 % of saturation the 99th percentile is 20 ms ([cascade.json]",
        "With 5,000,000 media a page costs 1.25 times the CPU that it costs with 100,000; a ranking service is ready 1.2 s",
        "takes 50 requests a second before it misses its SLO. At 40 a second for 5 minutes, 0 of 12,000 failed and",
        "the 99th percentile of pages was 240 ms; in 15 minutes at 30 a second no service grew by more than 1.0%",
        "serves 93% of what it serves at capacity, per core that the client leaves, with a 99th percentile of 700 ms",
        "traces of 1% of the requests, change the CPU of a page by +1.9% (median; turns from +1.0% to +3.0%)",
        "and the pages that are served by -2.1% (-4.0% to +0.5%)",
        "2 replacements in all, 0 of 3 pages failed and 1 lacked a stage. From nothing to the first whole page it took 5.0 s",
        "On a cluster of one node (Kubernetes 1.33.1) it takes 18 s from `kubectl apply` to the first whole page, training",
        "while every Deployment was restarted, 0 of 200 pages failed and 1 lacked a stage",
    ):
        assert sentence in text
    for name in SENTENCES:
        assert f"([{name}.json](benchmarks/results/{name}.json), `python -m benchmarks.{name} --home PATH`)." in text
    assert "Not recorded yet" not in text
    assert text.count("Measured on") == 1


def test_what_was_not_run_is_named_and_nothing_is_made_up(tmp_path: Path) -> None:
    everything = recorded()
    nothing = said(tmp_path)
    assert nothing == f"Not recorded yet: {', '.join(f'`python -m benchmarks.{name}`' for name in SENTENCES)}."
    write(tmp_path, load=everything["load"], cascade_quick=everything["cascade"])  # a quick run is no result
    assert "benchmarks/results/load.json" in said(tmp_path)
    assert "benchmarks/results/cascade" not in said(tmp_path)
    assert "`python -m benchmarks.cascade`" in said(tmp_path).split("Not recorded yet")[1]
    assert "`python -m benchmarks.load`" not in said(tmp_path).split("Not recorded yet")[1]


def test_a_load_test_without_its_soak_claims_nothing_of_memory(tmp_path: Path) -> None:
    figures = {name: found for name, found in load_figures().items() if name != "soak"}
    assert "grew" not in said(write(tmp_path, load=(figures, load._checks(figures))))


def test_bounds_that_were_missed_are_said(tmp_path: Path) -> None:
    assert "Missed" not in said(write(tmp_path, cascade=recorded()["cascade"]))
    text = said(write(tmp_path, cascade=recorded(cascade_ms=8.0)["cascade"]))
    assert "spend 2.00 times the CPU" in text
    assert "Missed: server CPU per page, cascade / our floor in batches is 2 (<= 1.25)." in text


def test_a_result_of_other_checks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 checks are named 'server CPU per page"):
        paragraph(write(tmp_path, cascade=(recorded()["cascade"][0], [at_least("another", 1, 0)])))


def test_lines_are_short_and_code_stays_whole(tmp_path: Path) -> None:
    for line in paragraph(write(tmp_path, **recorded(cascade_ms=8.0))).splitlines():
        assert len(line) <= 132
        assert line.count("`") % 2 == 0


def test_the_command_writes_between_the_marks_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, document = write(tmp_path / "results", **recorded()), tmp_path / "README.md"
    parts = [f"<!-- {mark}: begin -->\nold\n<!-- {mark}: end -->\n" for mark in (MARK, *TABLES)]
    document.write_text("\n".join(["# Before\n", *parts, "After\n"]), "utf-8")
    assert main(["--check"], document, results) == 1
    assert "run python -m benchmarks.readme" in capsys.readouterr().err
    assert "old" in document.read_text("utf-8")
    assert main([], document, results) == 0
    assert main(["--check"], document, results) == 0
    text = document.read_text("utf-8")
    assert text.startswith(f"# Before\n\n<!-- {MARK}: begin -->\n- Five services")
    assert text.endswith("\nNot recorded yet: `python -m benchmarks.kuairand`.\n<!-- kuairand: end -->\n\nAfter\n")
    assert "old" not in text
    document.write_text("no marks", "utf-8")
    with pytest.raises(ValueError, match=r"README\.md must hold"):
        main([], document, results)

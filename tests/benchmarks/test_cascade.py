"""What the benchmark of the cascade compares with, and how it adds up."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.cascade import _with_rest
from benchmarks.cascade_chart import draw_parts
from benchmarks.cascade_checks import checks_of
from benchmarks.cascade_floors import Sample
from benchmarks.cascade_pages import differences
from benchmarks.cascade_seams import MODEL, PARTS, REST, RETRIEVAL, SEAMS, VALKEY, Stopwatch, find
from benchmarks.cpu_time import cpu_seconds, resident_mb
from benchmarks.naive_features import Features, User
from features.assemble import assemble, candidate_view
from features.dense import FEATURES
from tests.features.worlds import KNOWN_MEDIA, USERS, contexts_of, item_table
from tests.features.worlds import User as MadeUp


@given(user=USERS, rows=st.lists(st.integers(0, len(KNOWN_MEDIA) - 1), min_size=1, max_size=8))
@settings(max_examples=40)
def test_the_naive_features_are_the_products(user: MadeUp, rows: list[int]) -> None:
    items, contexts, row_N = item_table(), contexts_of([user]), np.array(rows, dtype=np.int64)
    expected_NF = assemble(candidate_view(contexts, items, row_N, np.zeros_like(row_N)), FEATURES)
    names = [feature.name for feature in FEATURES]
    found_NF = Features(items).matrix(names, User.of(contexts, items), row_N)
    for name, found_N, expected_N in zip(names, found_NF.T, expected_NF.T, strict=True):
        np.testing.assert_allclose(found_N, expected_N, rtol=1e-3, atol=1e-4, err_msg=name)


def test_pages_are_compared_by_ids_by_order_and_by_values() -> None:
    page = [(1, 0.5), (2, 0.25)]
    assert differences([page], [page]) == {"pages": 1, "same_ids": 1.0, "same_order": 1.0, "worst_value_gap": 0.0}
    turned = differences([page], [[(2, 0.25), (1, 0.75)]])
    assert (turned["same_ids"], turned["same_order"], turned["worst_value_gap"]) == (1.0, 0.0, 0.25)
    assert differences([page, page], [page, [(1, 0.5), (3, 0.25)]])["same_ids"] == 0.5
    assert differences([page], [[(1, 0.5)]])["same_ids"] == 0.0


def test_what_no_seam_saw_is_the_rest_and_all_parts_are_the_whole() -> None:
    sample = Sample(requests=10, wall_s=1.0, cpu_s=0.2, valkey_cpu_s=0.01, ms={})
    parts = _with_rest(sample, {RETRIEVAL: 4.0, MODEL: 6.0})
    assert parts[VALKEY] == pytest.approx(1.0)
    assert parts[REST] == pytest.approx(9.0)
    assert sum(parts.values()) == pytest.approx(sample.cpu_ms)
    assert set(parts) == {*PARTS, VALKEY, REST}


def test_a_seam_inside_another_counts_once() -> None:
    watch = Stopwatch()

    def burn(seconds: float) -> None:
        start = time.thread_time()
        while time.thread_time() - start < seconds:
            pass

    inner = watch.timed("inner", lambda: burn(0.02))

    def outer() -> None:
        burn(0.01)
        inner()
        inner()

    watch.timed("outer", outer)()
    assert watch.cpu_s["inner"] == pytest.approx(0.04, rel=0.2)
    assert watch.cpu_s["outer"] == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize(("module", "name", "part"), SEAMS)
def test_every_seam_is_still_there(module: str, name: str, part: str) -> None:
    """A stopwatch that hangs in the air would call its part free."""
    owner, last = find(module, name)
    assert callable(getattr(owner, last))
    assert part in PARTS


def test_a_process_that_computes_is_seen_to() -> None:
    pid = int(Path("/proc/self").readlink().name)
    before, start = cpu_seconds([pid]), time.process_time()
    while time.process_time() - start < 0.1:
        pass
    assert cpu_seconds([pid]) - before == pytest.approx(0.1, abs=0.03)
    memory = resident_mb(pid)
    assert memory["resident"] == pytest.approx(memory["private"] + memory["mapped"])
    assert memory["private"] > 1


def test_bars_are_drawn(tmp_path: Path) -> None:
    draw_parts(
        {"our floor": {"models": 3.0, "gRPC": 0.0}, "cascade": {"models": 3.0, "gRPC": 2.0}}, tmp_path / "bars.png"
    )
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")


def _figures(cascade_ms: float, lost: int) -> dict[str, object]:
    def taken(cpu_ms: float, per_s: float, p50: float, lost: dict[str, int] | None) -> list[dict[str, object]]:
        ms = {"p50": p50, "p99": 2 * p50}
        return [{"cpu_ms": cpu_ms, "per_s": per_s, "ms": ms, "requests": 1_000, "lost": lost}]

    samples = {
        "naive floor": taken(10, 100, 10, None),
        "our floor": taken(5, 200, 5, None),
        "our floor, in batches": taken(4, 250, 30, None),
        "cascade, at 80%": taken(cascade_ms, 150, 10, {}),
    }
    for name in ("cascade", "cascade, sockets", "monolith"):
        samples |= {f"{name}, {n} callers": taken(cascade_ms, 200, 7, {"degraded": lost}) for n in (1, 8, 32)}
    same = {"same_ids": 1.0, "worst_value_gap": 0.0}
    pages = dict.fromkeys(("floors", "cascade", "cascade, sockets", "cascade, one process", "monolith"), same)
    return {
        "samples": samples,
        "pages": pages,
        "ready_s": dict.fromkeys(("prerank_svc", "rank_svc", "rerank_svc"), 1.0),
    }


@pytest.mark.parametrize(
    ("cascade_ms", "lost", "failed"),
    [
        (4.8, 0, set()),
        (5.2, 0, {"server CPU per page, cascade / our floor in batches"}),
        (4.8, 20, {"calls without a whole page / all"}),
    ],
)
def test_a_check_fails_when_its_figure_does(cascade_ms: float, lost: int, failed: set[str]) -> None:
    figures = json.loads(json.dumps(_figures(cascade_ms, lost)))
    assert {check.name for check in checks_of(figures) if not check.ok} == failed

"""What training takes for the size of memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.memory import available_memory, default_budget, peak_memory


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_has_the_memory_that_its_limit_leaves_it(tmp_path: Path, file: str) -> None:
    limit = tmp_path / "sys/fs/cgroup" / file
    limit.parent.mkdir(parents=True)
    limit.write_text("400000000\n")
    assert available_memory(tmp_path) == 400_000_000
    assert default_budget(tmp_path) == 100_000_000


@pytest.mark.parametrize("text", ["max\n", "", "-1", "99999999999999999999"])
def test_without_a_limit_the_machine_counts(tmp_path: Path, text: str) -> None:
    machine = available_memory(tmp_path)
    assert machine > 100_000_000
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(text)
    assert available_memory(tmp_path) == machine


def test_the_peak_is_in_bytes() -> None:
    before = peak_memory()
    assert before > 10_000_000
    block = np.ones(before // 8 + 20_000_000 // 8)
    assert peak_memory() > before + 10_000_000
    assert block[-1] == 1

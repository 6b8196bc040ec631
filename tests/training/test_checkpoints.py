"""What a run keeps: whole or not at all, checked when read, for one process, and gone when the run has ended."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from training.checkpoints import FORGET_AFTER_S, KeepNothing, RunDirectory, Snapshot, open_run
from training.errors import RunInUse

ARRAYS = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b.c": np.array(5), "d": np.zeros(0, dtype=np.uint8)}


class Counted:
    """Computes the same each time, and counts how often it had to."""

    def __init__(self) -> None:
        self.times = 0

    def arrays(self) -> dict[str, NDArray[Any]]:
        self.times += 1
        return ARRAYS

    def files(self, root: Path) -> dict[str, Any]:
        self.times += 1
        (root / "deep").mkdir()
        (root / "deep" / "one.bin").write_bytes(bytes(range(200)))
        (root / "two.txt").write_text("two")
        return {"recall": 0.5}


@pytest.fixture(name="said")
def _said() -> list[str]:
    return []


@pytest.fixture(name="run")
def _run(tmp_path: Path, said: list[str]) -> RunDirectory:
    return RunDirectory(tmp_path, said.append)


def same(found: Mapping[str, NDArray[Any]]) -> bool:
    return list(found) == list(ARRAYS) and all(
        np.array_equal(found[name], ARRAYS[name]) and found[name].dtype == ARRAYS[name].dtype for name in ARRAYS
    )


def test_arrays_are_computed_once(run: RunDirectory, said: list[str]) -> None:
    counted = Counted()
    assert same(run.arrays("teacher scores", counted.arrays))
    assert same(run.arrays("teacher scores", counted.arrays))
    assert (counted.times, said) == (1, [])


def test_files_are_written_once_and_copied_as_often_as_asked(run: RunDirectory, tmp_path: Path) -> None:
    counted = Counted()
    for target in (tmp_path / "first", tmp_path / "second"):
        target.mkdir()
        (target / "other").touch()
        assert run.files("sourcing files", target, counted.files) == {"recall": 0.5}
        assert sorted(path.name for path in target.rglob("*")) == ["deep", "one.bin", "other", "two.txt"]
        assert (target / "deep" / "one.bin").read_bytes() == bytes(range(200))
    assert counted.times == 1


@pytest.mark.parametrize("length", [0, 1, 100, 500, -1])
def test_a_part_of_an_archive_is_made_again(run: RunDirectory, said: list[str], length: int) -> None:
    counted = Counted()
    run.arrays("slates", counted.arrays)
    path = run.root / "slates.npz"
    path.write_bytes(path.read_bytes()[:length])
    assert same(run.arrays("slates", counted.arrays))
    assert same(run.arrays("slates", counted.arrays))
    assert counted.times == 2
    assert len(said) == 1
    assert said[0].startswith("what was kept of slates is broken and is made again (")


def test_no_flipped_byte_of_an_archive_goes_unnoticed(run: RunDirectory) -> None:
    counted, order = Counted(), random.Random(1)
    run.arrays("slates", counted.arrays)
    path = run.root / "slates.npz"
    whole = path.read_bytes()
    for place in order.sample(range(len(whole)), 200):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert same(run.arrays("slates", counted.arrays))


def test_objects_are_never_unpickled(run: RunDirectory, said: list[str]) -> None:
    with (run.root / "slates.npz").open("wb") as file:
        np.savez(file, allow_pickle=True, a=np.array([{"an": "object"}], dtype=object))
    assert same(run.arrays("slates", Counted().arrays))
    assert "allow_pickle=False" in said[0]


@pytest.mark.parametrize("harm", ["changed", "missing", "added", "no contents"])
def test_a_folder_that_is_not_as_it_was_written_is_made_again(run: RunDirectory, tmp_path: Path, harm: str) -> None:
    counted, target = Counted(), tmp_path / "target"
    run.files("sourcing files", target, counted.files)
    kept = run.root / "sourcing_files"
    if harm == "changed":
        (kept / "two.txt").write_text("owt")
    elif harm == "added":
        (kept / "three").touch()
    else:
        (kept / ("contents.json" if harm == "no contents" else "two.txt")).unlink()
    assert run.files("sourcing files", target, counted.files) == {"recall": 0.5}
    assert (counted.times, (target / "two.txt").read_text()) == (2, "two")


def test_what_fails_half_way_leaves_nothing_to_find(run: RunDirectory, tmp_path: Path) -> None:
    def interrupted(root: Path) -> dict[str, Any]:
        Counted().files(root)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.files("sourcing files", tmp_path / "target", interrupted)
    counted = Counted()
    run.files("sourcing files", tmp_path / "target", counted.files)
    assert counted.times == 1


def test_a_checkpoint_gives_back_what_was_saved_last(run: RunDirectory) -> None:
    checkpoint = run.checkpoint("deep ranker")
    assert checkpoint is not None
    assert checkpoint.load() is None
    notes = {"best": float("inf"), "loss": 0.1 + 0.2, "random": {"state": 2**127 + 1}}
    for step in (1, 2):
        checkpoint.save(Snapshot(ARRAYS, notes | {"step": step}), f"step {step} of 9 done")
    found = checkpoint.load()
    assert found is not None
    assert same(found.arrays)
    assert found.notes == notes | {"step": 2}
    assert not checkpoint.due()


def test_a_resumed_run_says_when_it_began_and_how_far_it_was(tmp_path: Path, said: list[str]) -> None:
    with suppress(KeyboardInterrupt), open_run(tmp_path, "key", said.append) as run:
        run.checkpoint("deep ranker").save(Snapshot(ARRAYS, {}), "epoch 1 of 2 done")  # type: ignore[union-attr]
        raise KeyboardInterrupt
    assert said == []
    with open_run(tmp_path, "key", said.append) as run:
        assert same(run.arrays("deep ranker", dict))
    assert len(said) == 1
    began, _, done = said[0].removeprefix("resuming the run of ").partition(": ")
    assert (len(began), done) == (5, "deep ranker, epoch 1 of 2 done")


def test_a_run_that_ended_well_is_gone_and_others_are_not(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with open_run(tmp_path, "key", print) as run:
        run.arrays("slates", Counted().arrays)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["other"]


def test_fresh_starts_over(tmp_path: Path, said: list[str]) -> None:
    counted = Counted()
    with suppress(KeyboardInterrupt), open_run(tmp_path, "key", said.append) as run:
        run.arrays("slates", counted.arrays)
        run.files("sourcing files", tmp_path / "target", Counted().files)
        raise KeyboardInterrupt
    with open_run(tmp_path, "key", said.append, fresh=True) as run:
        run.arrays("slates", counted.arrays)
    assert (counted.times, said) == (2, [])


def test_two_processes_never_share_a_run(tmp_path: Path) -> None:
    with open_run(tmp_path, "key", print):
        with (
            pytest.raises(RunInUse, match="another process trains with the same inputs"),
            open_run(tmp_path, "key", print),
        ):
            pass
        with open_run(tmp_path, "other", print):
            pass
    with open_run(tmp_path, "key", print):
        pass


def test_runs_that_nobody_resumed_for_a_week_go(tmp_path: Path, said: list[str]) -> None:
    for name, age_s in (("old", FORGET_AFTER_S + 60), ("young", FORGET_AFTER_S - 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
        for path in (tmp_path / name / "run.json", tmp_path / name):
            os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    with open_run(tmp_path, "key", said.append):
        pass
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["young"]
    assert len(said) == 1
    assert said[0].startswith("removed the unfinished run of ")


def test_a_run_that_keeps_nothing_computes_each_time(tmp_path: Path) -> None:
    counted, nothing = Counted(), KeepNothing()
    tmp_path.joinpath("a").mkdir()
    assert nothing.arrays("slates", counted.arrays) is ARRAYS
    assert nothing.files("files", tmp_path / "a", counted.files) == {"recall": 0.5}
    assert (nothing.checkpoint("deep ranker"), counted.times) == (None, 2)

"""A simulation is a function of its config: same seed, same bytes; and it leaves a data set or nothing."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from tests.training.datasets.simulate.conftest import Log
from training.datasets import load
from training.datasets.simulate import SimulationConfig, simulate
from training.errors import DatasetError


def digests(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes(village: SimulationConfig, tmp_path: Path) -> None:
    for name in ("a", "b"):
        simulate(village, tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert len(digests(tmp_path / "a")) == 10


def test_another_seed_gives_another_log(village: SimulationConfig, tmp_path: Path) -> None:
    first = simulate(village, tmp_path / "a")
    second = simulate(dataclasses.replace(village, seed=8), tmp_path / "b")
    assert not first.events.equals(second.events)
    assert not first.media.equals(second.media)


def test_a_simulated_data_set_loads_without_warnings(log: Log) -> None:
    assert log.dataset.root is not None
    again = load(log.dataset.root)
    assert again.events.equals(log.dataset.events)
    assert again.users.equals(log.dataset.users)
    assert again.media.equals(log.dataset.media)
    assert (again.seed, again.created_by, again.warnings) == (1, "explore simulate", ())
    assert again.name == "simulated-1200-users-seed-1"


def test_user_ids_count_from_one_and_users_come_in_tiers(log: Log) -> None:
    assert log.dataset.users["user_id"].to_list() == [str(user) for user in range(1, 1201)]
    assert set(log.dataset.users["segment"]) == {"casual", "regular", "power"}


def test_media_carry_their_topic_first_among_their_tags(log: Log) -> None:
    media = log.dataset.media
    assert (media["tags"].list.first() == media["topic"]).all()
    assert media["tags"].list.len().is_between(1, 2).all()


def test_progress_counts_up_to_its_total(village: SimulationConfig, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    simulate(village, tmp_path / "d", lambda done, total: steps.append((done, total)))
    assert steps == [(done, 5) for done in range(1, 6)]


def test_a_foreign_directory_is_refused_before_any_work(village: SimulationConfig, tmp_path: Path) -> None:
    (tmp_path / "love.txt").touch()
    with pytest.raises(DatasetError, match="it exists and is no data set"):
        simulate(village, tmp_path)


def test_an_interrupt_leaves_nothing_behind(village: SimulationConfig, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(village, tmp_path / "d", stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes", [{"spam_share": 0.0, "random_share": 0.0, "dwell_share": 0.0}, {"random_share": 1.0}]
)
def test_shares_may_be_none_or_all(village: SimulationConfig, tmp_path: Path, changes: dict[str, float]) -> None:
    dataset = simulate(dataclasses.replace(village, **changes), tmp_path / "d")  # type: ignore[arg-type]
    shown = dataset.events.filter(dataset.events["action"] == "impression")
    assert shown["propensity"].is_not_null().to_numpy().mean() == changes["random_share"]

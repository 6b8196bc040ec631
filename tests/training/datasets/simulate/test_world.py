"""The ground truth answers for pairs of ids, at any time, the same after a round trip through the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from features.actions import TASKS
from tests.training.datasets.simulate.conftest import Log
from training.datasets.simulate import SimulationConfig, World, simulate
from training.datasets.simulate.config import DAY_MS
from training.errors import DatasetError, UnknownId


def test_every_task_has_one_answer_per_pair(log: Log) -> None:
    media_ids = log.world.media.media_id_M[:3]
    chances = log.world.action_probabilities(["42", "7", "42"], media_ids, log.world.config.end_ms)
    assert list(chances) == [task.name for task in TASKS]
    assert all(chance_X.shape == (3,) for chance_X in chances.values())
    alone = log.world.action_probabilities(["7"], media_ids[1:2], log.world.config.end_ms)
    assert alone["like"][0] == pytest.approx(chances["like"][1], rel=1e-9)


def test_no_pairs_have_no_answers(log: Log) -> None:
    assert log.world.action_probabilities([], np.array([], dtype=np.int64), 0)["click"].shape == (0,)


@pytest.mark.parametrize(
    ("user", "media", "message"),
    [
        ("1201", 0, "unknown user_id '1201'; name one of the 1200"),
        ("1", -5, "unknown media_id -5; name one of the 6000"),
    ],
)
def test_an_unknown_id_is_named(log: Log, user: str, media: int, message: str) -> None:
    media_ids = np.array([media or log.world.media.media_id_M[0]])
    with pytest.raises(UnknownId, match=message):
        log.world.action_probabilities([user], media_ids, 0)


def test_lists_that_are_no_pairs_are_refused(log: Log) -> None:
    with pytest.raises(ValueError, match="1 user ids and 2 media ids are not pairs"):
        log.world.action_probabilities(["1"], log.world.media.media_id_M[:2], 0)


def test_after_the_log_only_freshness_fades(log: Log) -> None:
    end_ms, media = log.world.config.end_ms, log.world.media
    users = [str(user) for user in range(1, 1001)]
    by_age = np.argsort(media.created_ms_M)
    old, new = by_age[:1000], by_age[-1000:]
    for rows, fades in ((old, False), (new, True)):
        now, later = (
            log.world.action_probabilities(users, media.media_id_M[rows], time_ms)["click"]
            for time_ms in (end_ms, end_ms + 5 * DAY_MS)
        )
        assert bool((later < now - 1e-9).all()) == fades
        assert fades or later == pytest.approx(now)


def test_tastes_drift_away_from_where_they_began(log: Log) -> None:
    taste_NUD = log.world.users.taste_NUD
    likeness_N = np.einsum("nud,ud->nu", taste_NUD, taste_NUD[0]).mean(axis=1)
    assert (np.diff(likeness_N) < 0).all()
    assert 0.5 < likeness_N[-1] < 0.95


def test_moods_outlast_their_block_more_often_than_not(log: Log) -> None:
    mood_BU = log.world.users.mood_BU
    assert 0.6 < (mood_BU[1:] == mood_BU[:-1]).mean() < 0.95


def test_topics_are_alike_in_part(log: Log) -> None:
    likeness_TT = log.world.topics.vector_TD @ log.world.topics.vector_TD.T
    others = np.abs(likeness_TT[~np.eye(len(likeness_TT), dtype=np.bool_)])
    assert others.max() > 0.4
    assert others.mean() < 0.4


@pytest.mark.parametrize("damage", ["none", "missing", "short", "config"])
def test_a_world_that_cannot_be_read_says_so(tmp_path: Path, village: SimulationConfig, damage: str) -> None:
    simulate(village, tmp_path / "d")
    truth = tmp_path / "d" / "truth"
    if damage == "missing":
        (truth / "users.npz").unlink()
    elif damage == "short":
        (truth / "users.npz").write_bytes((truth / "users.npz").read_bytes()[:200])
    elif damage == "config":
        (truth / "world.json").write_text('{"end": "2026-01-15T00:00:00+00:00", "moons": 2}')
    if damage == "none":
        assert World.load(tmp_path / "d").config == village
        return
    with pytest.raises(DatasetError, match=r"truth: it holds no readable world .*; simulate the data set again"):
        World.load(tmp_path / "d")

"""The action model: draws happen as often as the probabilities say, and each signal pushes the way it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.actions import TASKS
from training.datasets.simulate.behaviour import HEADS, SIGNALS, Behaviour, behave, examination_probability


def people(signals: dict[str, float], count: int = 1) -> Behaviour:
    return behave({name: np.full(count, signals.get(name, 0.0)) for name in SIGNALS})


def chance(task: str, **signals: float) -> float:
    return float(people(signals).probabilities()[task][0])


@settings(deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=len(SIGNALS), max_size=len(SIGNALS)))
def test_every_task_has_a_probability_and_actions_need_their_click(values: list[float]) -> None:
    chances = people(dict(zip(SIGNALS, values, strict=True))).probabilities()
    assert list(chances) == [task.name for task in TASKS]
    assert all(0 <= chances[name][0] <= 1 for name in HEADS)
    assert all(chances[name][0] <= chances["click"][0] for name in HEADS if name != "negative")


@pytest.mark.parametrize(
    ("signals", "examined"),
    [({"match": 0.8, "mood": 0.5}, True), ({"spam": 1.0}, True), ({"match": 0.8, "followed": 1.0}, True), ({}, False)],
)
def test_draws_happen_as_often_as_the_probabilities_say(signals: dict[str, float], examined: bool) -> None:
    count = 200_000
    crowd = people(signals, count)
    done = crowd.draw(np.full(count, examined), np.random.default_rng(0))
    for name, chance_X in crowd.probabilities().items():
        expected = float(chance_X[0]) * examined
        assert done[name].mean() == pytest.approx(expected, abs=4.5 * (expected / count) ** 0.5)


def test_actions_go_together_beyond_their_chances() -> None:
    done = people({"match": 0.5}, 200_000).draw(np.ones(200_000, dtype=np.bool_), np.random.default_rng(0))
    assert not (done["long_view"] & ~done["click"]).any()
    assert done["like"][done["long_view"]].mean() > 1.5 * done["like"][done["click"] & ~done["long_view"]].mean()
    assert (done["negative"] & ~done["click"]).any()


@pytest.mark.parametrize(
    ("task", "signal", "sign"),
    [
        *(("click", signal, 1) for signal in ("match", "mood", "followed", "quality", "fresh", "spam", "eager")),
        *(("like", "spam", -1), ("long_view", "overlong", -1), ("click", "misfit", -1), ("share", "sociable", 1)),
        *(("negative", "spam", 1), ("negative", "match", -1), ("negative", "grumpy", 1)),
    ],
)
def test_a_signal_pushes_the_way_it_should(task: str, signal: str, sign: int) -> None:
    assert sign * (chance(task, **{signal: 1.0}) - chance(task)) > 0


def test_nobody_follows_an_account_twice() -> None:
    assert chance("follow") > 0 == chance("follow", followed=1.0)


def test_examination_falls_down_the_page_and_never_ends() -> None:
    chance_K = examination_probability(np.arange(200))
    assert chance_K[0] == pytest.approx(0.98)
    assert (np.diff(chance_K) < 0).all()
    assert chance_K[-1] > 0.2

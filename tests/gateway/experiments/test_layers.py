"""Who gets which arm: shares, independence of layers, and how few users move when the file changes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.experiments.layers import CONTROL, NO_ARMS, NO_EXPERIMENTS, Arm, Experiments, Layer
from gateway.experiments.settings import Settings

USERS = st.text(min_size=1, max_size=20)
WEIGHTS = st.lists(st.floats(0.1, 10), min_size=1, max_size=4)


def layer(share: float = 1.0, *weights: float, name: str = "ranking", **fields: object) -> Layer:
    arms = tuple(Arm(f"arm-{i}", weight) for i, weight in enumerate(weights or (1.0, 1.0)))
    return replace(Layer(name, name, share, arms), **fields)  # type: ignore[arg-type]


def arms_of(chosen: Layer, users: int) -> list[str]:
    return [arm.name if (arm := chosen.arm_of(str(user))) is not None else CONTROL for user in range(users)]


def chi_square(found: list[int], expected: list[float]) -> float:
    return float(sum((f - e) ** 2 / e for f, e in zip(found, expected, strict=True)))


def test_a_million_users_fall_into_the_arms_as_often_as_the_file_says() -> None:
    users = 1_000_000
    found = Counter(arms_of(layer(0.1, 1.0, 3.0), users))
    statistic = chi_square(
        [found[CONTROL], found["arm-0"], found["arm-1"]], [0.9 * users, 0.025 * users, 0.075 * users]
    )
    assert statistic < 13.8  # 0.1 % of 2 degrees of freedom


def test_two_layers_know_nothing_of_each_other() -> None:
    users = 100_000
    pairs = Counter(
        zip(arms_of(layer(0.5, 1, 1, name="a"), users), arms_of(layer(0.5, 1, 1, name="b"), users), strict=True)
    )
    table = np.array([[pairs[a, b] for b in (CONTROL, "arm-0", "arm-1")] for a in (CONTROL, "arm-0", "arm-1")])
    expected = table.sum(axis=1)[:, None] * table.sum(axis=0)[None, :] / users
    assert ((table - expected) ** 2 / expected).sum() < 18.5  # 0.1 % of 4 degrees of freedom


def test_who_takes_part_says_nothing_about_the_arm() -> None:
    whole, half = arms_of(layer(1.0), 20_000), arms_of(layer(0.5), 20_000)
    taken = [before for before, after in zip(whole, half, strict=True) if after != CONTROL]
    assert chi_square([taken.count(arm) for arm in ("arm-0", "arm-1")], [len(taken) / 2] * 2) < 10.8  # 0.1 %, 1 degree


def test_a_larger_weight_moves_users_into_its_arm_only_and_no_more_than_it_must() -> None:
    users = 20_000
    before, after = arms_of(layer(1.0, 1, 1, 1), users), arms_of(layer(1.0, 1, 2, 1), users)
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert {b for _, b in moved} == {"arm-1"}
    assert len(moved) / users == pytest.approx(2 / 4 - 1 / 3, abs=0.01)


@given(USERS, WEIGHTS, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_takes_users_in_and_moves_nobody(
    user: str, weights: list[float], one: float, other: float
) -> None:
    small, large = sorted((one, other))
    before, after = layer(small, *weights).arm_of(user), layer(large, *weights).arm_of(user)
    assert before is None or before == after


@given(USERS, WEIGHTS)
def test_an_arm_that_is_added_or_removed_moves_its_own_users_only(user: str, weights: list[float]) -> None:
    with_it, without = layer(1.0, *weights, 1.0).arm_of(user), layer(1.0, *weights).arm_of(user)
    assert with_it == without or with_it == Arm(f"arm-{len(weights)}", 1.0)


@given(USERS)
def test_a_layer_that_is_added_moves_nobody(user: str) -> None:
    alone, beside = Experiments((layer(name="b"),)), Experiments((layer(name="a"), layer(name="b")))
    assert alone.assign(user).placed[0] == beside.assign(user).placed[1]


def test_the_hash_is_the_same_in_every_release() -> None:
    """Changing it would move every user of every running experiment."""
    assert arms_of(layer(0.5), 12) == [
        *("arm-1", "control", "control", "arm-0", "arm-0", "control"),
        *("control", "arm-0", "arm-0", "arm-0", "arm-0", "arm-0"),
    ]


@given(USERS, st.floats(0.01, 0.99), WEIGHTS)
def test_propensities_are_those_of_the_file(user: str, share: float, weights: list[float]) -> None:
    placed = layer(share, *weights).place(user)
    expected = {f"arm-{i}": share * weight / sum(weights) for i, weight in enumerate(weights)} | {CONTROL: 1 - share}
    assert placed.propensity == pytest.approx(expected[placed.arm])
    assert (placed.forced, placed.label) == (False, placed.arm)


def test_layers_multiply() -> None:
    both = Experiments((layer(name="a"), layer(name="b"))).assign("42")
    assert (both.propensity, both.excluded) == (0.25, False)
    assert both.name == ",".join(f"{name}={arm}" for name, arm in both.arms.items())


def test_an_arm_without_weight_is_for_forced_users_only() -> None:
    tried = layer(1.0, 1.0, 0.0, forced={"qa": "arm-1"})
    assert set(arms_of(tried, 1_000)) == {"arm-0"}
    assert tried.place("qa").arm == "arm-1"


@pytest.mark.parametrize("arm", ["arm-1", CONTROL])
def test_a_forced_user_is_marked_and_does_not_count(arm: str) -> None:
    assigned = Experiments((layer(0.0, forced={"qa": arm}),)).assign("qa")
    assert (assigned.arms, assigned.propensity, assigned.excluded) == ({"ranking": f"forced:{arm}"}, 1.0, True)


def test_an_arm_that_falls_back_takes_all_of_its_settings_with_it_and_leaves_other_layers() -> None:
    both = Settings(value_weights="growth", bundle="v9")
    first = Layer("a", "a", 1.0, (Arm("x", 1.0, both),))
    second = Layer("b", "b", 1.0, (Arm("y", 1.0, Settings(query="fresh")),))
    assigned = Experiments((first, second)).assign("42")
    fallen = assigned.without("bundle")
    assert assigned.settings == Settings(value_weights="growth", bundle="v9", query="fresh")
    assert fallen.settings == Settings(query="fresh")
    assert (fallen.name, fallen.excluded) == ("a=fallback:x,b=y", True)
    assert assigned.without() == assigned.without("diversity") == assigned


def test_without_experiments_there_is_one_way() -> None:
    assigned = NO_EXPERIMENTS.assign("42")
    assert (assigned, assigned.name, assigned.arms, assigned.propensity, assigned.excluded) == (
        NO_ARMS,
        "default",
        {},
        1.0,
        False,
    )

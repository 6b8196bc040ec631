"""The weight table: what it may say, and that what arrives is what it says."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import yaml

from loadtests.traffic import DEFAULT, AudienceTable, Population, TrafficError, read_traffic, read_users

TABLE = yaml.safe_load(DEFAULT.read_text("utf-8"))


def test_kinds_are_drawn_by_their_weights() -> None:
    traffic, rng, draws = read_traffic(), random.Random(1), 20_000
    drawn = Counter(traffic.draw(rng) for _ in range(draws))
    total = sum(traffic.requests.values())
    for kind, weight in traffic.requests.items():
        assert drawn[kind] / draws == pytest.approx(weight / total, abs=0.015)


def test_users_are_drawn_by_zipfs_law() -> None:
    population = Population(AudienceTable(users=50, zipf_exponent=1.0, strangers=0.1), random.Random(1))
    drawn = Counter(population.draw() for _ in range(50_000))
    strangers = sum(n for user, n in drawn.items() if user.startswith("stranger-"))
    assert strangers / 50_000 == pytest.approx(0.1, abs=0.01)
    assert drawn["1"] / drawn["10"] == pytest.approx(10, rel=0.15)


def test_named_users_are_drawn_by_their_place() -> None:
    population = Population(AudienceTable(users=1, zipf_exponent=3.0, strangers=0), random.Random(1), ["ann", "bob"])
    drawn = Counter(population.draw() for _ in range(5_000))
    assert drawn["ann"] / drawn["bob"] == pytest.approx(8, rel=0.2)


def test_a_list_of_users_has_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("ann\n\n bob \n")
    assert read_users(tmp_path / "users") == ["ann", "bob"]
    (tmp_path / "marked").write_text("\ufeffann\nbob\n")  # as some editors begin a file
    assert read_users(tmp_path / "marked") == ["ann", "bob"]
    (tmp_path / "empty").write_text(" \n")
    for name in ("empty", "none"):
        with pytest.raises(TrafficError, match=name):
            read_users(tmp_path / name)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("requests", "open"), 0, "`open` must weigh more than 0"),
        (("requests", "like"), -1, "like: -1"),
        (("requests", "like"), float("nan"), "finite"),
        (("requests", "dance"), 1, "requests.dance"),
        (("audience", "users"), 0, "audience.users"),
        (("audience", "strangers"), 1.5, "audience.strangers"),
        (("browsing", "page_size"), "many", "browsing.page_size"),
        (("browsing", "speed"), 1, "browsing.speed"),
    ],
)
def test_a_wrong_table_names_the_field(place: tuple[str, str], value: object, said: str, tmp_path: Path) -> None:
    table = {**TABLE, place[0]: {**TABLE[place[0]], place[1]: value}}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(TrafficError, match=said):
        read_traffic(tmp_path / "t.yaml")


@pytest.mark.parametrize("text", ["", "[", "\x00"])
def test_no_table_names_the_file(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(TrafficError, match=r"t\.yaml"):
        read_traffic(tmp_path / "t.yaml")

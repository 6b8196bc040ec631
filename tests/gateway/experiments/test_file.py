"""The experiment file: what it means, and every mistake with its place."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.experiments.file import ExperimentsRefused, parse, read_experiments
from gateway.experiments.layers import NO_EXPERIMENTS, Arm, Layer
from gateway.experiments.settings import Settings
from gateway.random_slots import RandomSlots

FILE = """
layers:
  ranking:
    salt: ranking-2026
    share: 0.10
    arms:
      growth: {weight: 3, value_weights: growth}
      kinder:
        value_weights: {like: 1, negative: -2e1}
        diversity: {decay: 0.3}
      same:
    force:
      kinder: [007, "qa user"]
  chance:
    share: 1
    arms:
      some: {random_slots: {share: 0.04, from: 3, to: 24}, query: fresh, bundle: 20260101T000000.000Z-0a}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ExperimentsRefused) as refused:
        parse(text)
    return str(refused.value).split("\n")


def arm(settings: str) -> str:
    return f"layers:\n  a:\n    share: 1\n    arms:\n      x: {{{settings}}}\n"


def test_the_file_means_what_it_says() -> None:
    chance, ranking = parse(FILE).layers
    slots = RandomSlots(0.04, 3, 24)
    assert chance == Layer(
        "chance", "chance", 1.0, (Arm("some", 1.0, Settings(None, None, "fresh", "20260101T000000.000Z-0a", slots)),)
    )
    assert (ranking.salt, ranking.share, dict(ranking.forced)) == (
        "ranking-2026",
        0.1,
        {"007": "kinder", "qa user": "kinder"},
    )
    assert ranking.arms == (
        Arm("growth", 3.0, Settings("growth")),
        Arm("kinder", 1.0, Settings({"like": 1.0, "negative": -20.0}, {"decay": 0.3})),
        Arm("same"),
    )


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "layers: {}\n"])
def test_a_file_may_hold_no_experiment(text: str) -> None:
    assert parse(text) == NO_EXPERIMENTS


def test_without_a_file_there_are_no_experiments(tmp_path: Path) -> None:
    assert read_experiments(tmp_path / "experiments.yaml") == NO_EXPERIMENTS


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\xff")
    for path in (tmp_path, tmp_path / "x.yaml"):
        with pytest.raises(ExperimentsRefused, match="cannot be read"):
            read_experiments(path)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("value_weigths: growth", "5:11: layers.a.arms.x.value_weigths is not known; did you mean 'value_weights'? allowed: "),
        ("value_weights: {like: much}", "5:33: layers.a.arms.x.value_weights.like must be a number from -1e+06 to 1e+06, got "),
        ("value_weights: {like: 1e7}", "5:33: layers.a.arms.x.value_weights.like must be a number"),
        ("value_weights: {like: 0}", "5:26: layers.a.arms.x.value_weights gives every task weight 0"),
        ("value_weights: {}", "5:26: layers.a.arms.x.value_weights gives every task weight 0"),
        ("value_weights: [like]", "5:26: layers.a.arms.x.value_weights must be a word"),
        ("diversity: {decay: 2}", "5:30: layers.a.arms.x.diversity.decay must be a number from 0 to 1, got '2'"),
        ("diversity: {decay: .nan}", "5:30: layers.a.arms.x.diversity.decay must be a number from 0 to 1, got '.nan'"),
        ('diversity: {decay: "0.5"}', "5:30: layers.a.arms.x.diversity.decay must be a number from 0 to 1, got '0.5'"),
        ("diversity: {floor: 0}", "5:30: layers.a.arms.x.diversity.floor is refused: diversity floor must lie in (0, 1]"),
        ("diversity: {flor: 1}", "5:23: layers.a.arms.x.diversity.flor is not known; did you mean 'floor'?"),
        ("diversity: 3", "5:22: layers.a.arms.x.diversity must be a mapping of decay, floor"),
        ("query: ../secret", "5:18: layers.a.arms.x.query must be 1 to 64 letters"),
        ("query: ", "layers.a.arms.x.query must be a word"),
        ("weight: -1", "5:19: layers.a.arms.x.weight must be a number from 0 to 1e+06, got '-1'"),
        ("weight: 1e-300", "5:19: layers.a.arms.x.weight must be 0, or at least 1e-06, got 1e-300"),
        ("weight: 0", "4:5: layers.a.arms has no arm with a weight above 0"),
        ("random_slots: {from: 3}", "5:25: layers.a.arms.x.random_slots has no 'share'"),
        ("random_slots: {share: 1, from: 3, to: 1}", "layers.a.arms.x.random_slots.to must be a number from 3 to"),
        ("random_slots: {share: 1, from: 1.5}", "layers.a.arms.x.random_slots.from must be a whole number, got '1.5'"),
        ("query: a, query: b", "5:21: layers.a.arms.x.query is given twice"),
        ("? [1] : 2", "layers.a.arms.x has a key that is no word"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_arm_is_told_with_its_place(settings: str, problem: str) -> None:
    assert problem in problems(arm(settings))[0]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("layer: {}", "experiments.yaml:1:1: layer is not known; did you mean 'layers'? allowed: layers"),
        ("layers: 3", "experiments.yaml:1:9: layers must be a mapping"),
        ("- 1", "experiments.yaml:1:1: must be a mapping of layers"),
        ("layers: {a b: {}}", "layers.a b must be 1 to 64 letters"),
        ("layers: {a: {arms: {x: }}}", "layers.a has no 'share'"),
        ("layers: {a: {share: 1}}", "layers.a has no 'arms'"),
        ("layers: {a: {share: 1.5, arms: {x: }}}", "layers.a.share must be a number from 0 to 1, got '1.5'"),
        ("layers: {a: {share: 1, arms: {}}}", "layers.a.arms has no arm with a weight above 0"),
        ("layers: {a: {share: 1, arms: {control: }}}", "layers.a.arms.control is what users without an arm are called"),
        ("layers: {a: {share: 1, arms: {x: }, force: {y: [1]}}}", "layers.a.force.y is no arm of this layer; allowed: control, x"),
        ("layers: {a: {share: 1, arms: {x: }, force: {x: 1}}}", "layers.a.force.x must be a list"),
        ("layers: {a: {share: 1, arms: {x: }, force: {x: [[1]]}}}", "layers.a.force.x must be a word"),
        ("layers: {a: {share: 1, arms: {x: , y: }, force: {x: [1], y: [1]}}}", "has user '1', who is forced into 'x' already"),
        (f"layers: {{a: {{share: 1, arms: {{x: }}, force: {{x: [{'u' * 257}]}}}}}}", "has a user id of more than 256 characters"),
        ("layers: {a: {share: 1, arms: {x: }}, b: {share: 1, arms: {x: }, salt: a}}", "layers.b.salt is 'a' as in layer 'a'"),
        ("layers: {a: {share: 1, arms: {x: {query: q}}},\n  b: {share: 1, arms: {y: {query: q}}}}",
         "experiments.yaml:2:28: layers.b.arms.y.query is overridden by layer 'a' too (line 1)"),
        ("layers: [", "is no YAML"),
        ("layers:\n\t- 1", "experiments.yaml:2:1: is no YAML"),
        ("a: 1\n---\nb: 1", "is no YAML"),
        ("a: \x00", "is no YAML"),
        ("layers: !!python/object/apply:os.system ['true']", "layers must be a mapping"),
        ("layers: &x {a: *x}", "experiments.yaml:1:"),
        ("[" * 100_000, "is nested more than 20 deep"),
        ("#" * 300_000, "has 300000 characters, at most 256000 are allowed"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_told_with_its_place(text: str, problem: str) -> None:
    assert any(problem in line for line in problems(text))


def test_all_mistakes_are_told_at_once_in_their_order() -> None:
    found = problems("layers:\n  a: {share: 2, arms: {x: {quary: q}}}\n  b: {share: -1, arms: 3}")
    assert [line.split(": ")[0] for line in found] == [
        f"experiments.yaml:{at}" for at in ("2:14", "2:28", "3:14", "3:24")
    ]


def test_very_many_mistakes_are_counted() -> None:
    found = problems("layers: {a: {share: 1, arms: {x: }, force: {x: [" + "[], " * 100 + "]}}}")
    assert (len(found), found[-1]) == (51, "and 50 more problems")


@given(st.text(alphabet="layersrmx: {}[]-&*!?|>'\"\n\t#,0.1%@", max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(ExperimentsRefused):
        assert all(0 <= layer.share <= 1 for layer in parse(text).layers)

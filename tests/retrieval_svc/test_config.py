from __future__ import annotations

from pathlib import Path

import pytest

from features.shards import WHOLE, Shard
from retrieval_svc.config import RetrievalConfig, SourcingConfig
from retrieval_svc.igql.files import DEFAULT_QUERY
from serving.config import load
from serving.errors import ConfigError


def test_the_packaged_query_serves_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(RetrievalConfig).igql_file == DEFAULT_QUERY
    monkeypatch.setenv("EXPLORE_IGQL_FILE", "mine.igql")
    assert load(RetrievalConfig).igql_file == Path("mine.igql")
    assert load(RetrievalConfig).listen == "127.0.0.1:50051"


def test_rules_claim_drops_in_a_fixed_order() -> None:
    assert [rule.reason for rule in SourcingConfig().rules()] == [
        "not_yet_published",
        "not_recommendable",
        "policy_flag",
        "too_old",
        "own_post",
        "blocked_author",
        "muted_author",
        "hidden_author",
        "seen",
    ]


def test_allowed_flags_and_ages_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPLORE_ALLOWED_POLICY_FLAGS", '["unoriginal"]')
    monkeypatch.setenv("EXPLORE_MAX_MEDIA_AGE_HOURS", "48")
    config = load(RetrievalConfig)
    assert config.allowed_policy_flags == {"unoriginal"}
    assert config.max_media_age_hours == 48


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NON_RECOMMENDABLE_THRESHOLD", "2"),
        ("MISSING_INTEGRITY_SCORE", "perhaps"),
        ("MAX_MEDIA_AGE_HOURS", "0"),
        ("ALLOWED_POLICY_FLAGS", "nudity"),
    ],
)
def test_wrong_settings_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"EXPLORE_{name}", value)
    with pytest.raises(ConfigError, match=name):
        load(RetrievalConfig)


@pytest.mark.parametrize(("index", "shard"), [("2", 2), ("retrieval-2", 2), ("a-1.b-0", 0), ("retrieval-svc-11", 11)])
def test_the_name_of_a_pod_says_which_shard_it_is(monkeypatch: pytest.MonkeyPatch, index: str, shard: int) -> None:
    monkeypatch.setenv("EXPLORE_SHARD_INDEX", index)
    monkeypatch.setenv("EXPLORE_SHARD_COUNT", "12")
    assert load(RetrievalConfig).shard == Shard(shard, 12)


def test_alone_a_service_has_all_accounts() -> None:
    assert load(RetrievalConfig).shard == WHOLE


@pytest.mark.parametrize(
    ("index", "count", "problem"),
    [
        ("2", "2", r"EXPLORE_SHARD_INDEX=2: must lie in 0\.\.1, since EXPLORE_SHARD_COUNT is 2"),
        ("-1", "2", "EXPLORE_SHARD_INDEX='-1': "),
        ("retrieval", "2", "EXPLORE_SHARD_INDEX='retrieval': "),
        ("retrieval-", "2", "EXPLORE_SHARD_INDEX='retrieval-': "),
        ("0", "0", "EXPLORE_SHARD_COUNT='0': "),
        ("0", "1025", "EXPLORE_SHARD_COUNT='1025': "),
        ("0", "two", "EXPLORE_SHARD_COUNT='two': "),
    ],
)
def test_a_shard_that_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch, index: str, count: str, problem: str
) -> None:
    monkeypatch.setenv("EXPLORE_SHARD_INDEX", index)
    monkeypatch.setenv("EXPLORE_SHARD_COUNT", count)
    with pytest.raises(ConfigError, match=problem):
        load(RetrievalConfig)

from __future__ import annotations

from pathlib import Path

import pytest

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

"""Commands source by the rules that the environment gives the services, on files that the workspace names."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.errors import CommandError
from cli.sourcing_settings import sourcing_config
from retrieval_svc.config import RetrievalConfig, SourcingConfig
from serving.config import load


def test_rules_are_those_of_the_service_in_the_same_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sourcing_config(Path("q.igql")).rules() == SourcingConfig().rules()
    for name, value in (
        ("NON_RECOMMENDABLE_THRESHOLD", "0.5"),
        ("MISSING_INTEGRITY_SCORE", "deny"),
        ("ALLOWED_POLICY_FLAGS", '["satire"]'),
        ("MAX_MEDIA_AGE_HOURS", "48"),
    ):
        monkeypatch.setenv(f"EXPLORE_{name}", value)
    told = sourcing_config(Path("q.igql"))
    assert told.rules() == load(RetrievalConfig).rules() != SourcingConfig().rules()


def test_files_are_the_workspaces(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IGQL_FILE", "IGQL_DIRECTORY", "TAKEDOWN_FILE"):
        monkeypatch.setenv(f"EXPLORE_{name}", "elsewhere")
    told = sourcing_config(Path("q.igql"))
    assert (told.igql_file, told.igql_directory, told.takedown_file) == (Path("q.igql"), None, None)
    assert sourcing_config(Path("q.igql"), Path("gone.txt")).takedown_file == Path("gone.txt")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("MAX_MEDIA_AGE_HOURS", "0", "EXPLORE_MAX_MEDIA_AGE_HOURS='0': .* at least 1"),
        ("MISSING_INTEGRITY_SCORES", "deny", "did you mean EXPLORE_MISSING_INTEGRITY_SCORE"),
    ],
)
def test_a_wrong_variable_is_told_as_the_service_tells_it(
    name: str, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"EXPLORE_{name}", value)
    with pytest.raises(CommandError, match=problem):
        sourcing_config(Path("q.igql"))

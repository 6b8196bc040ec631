"""`explore load-users` on a real Valkey, with the users of a trained workspace."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from valkey import Valkey

from cli.backfill import MARKER
from cli.main import build
from cli.workspace import Workspace
from features.user_state import user_key
from tests.valkeys import own_valkey


def load(home: Path, url: str) -> Result:
    return CliRunner().invoke(build(), ["--home", str(home), "load-users", "--valkey", url])


def test_an_empty_valkey_gets_the_users_of_the_active_bundle_and_keeps_them(trained: Workspace) -> None:
    with own_valkey() as server, Valkey(**server.connection_kwargs) as client:
        url = f"redis://{server.host}:{server.port}/0"
        first = load(trained.home, url)
        assert first.exit_code == 0, first.output
        assert "holds the users of data set 'simulated'" in first.output
        assert client.exists(user_key("42"), MARKER) == 2
        client.delete(user_key("42"))
        assert load(trained.home, url).exit_code == 0
        assert not client.exists(user_key("42"))  # loaded once: what users did since must not be overwritten


@pytest.mark.parametrize(
    ("url", "problem"), [("somewhere", "no URL of a Valkey"), ("redis://127.0.0.1:1/0", "Valkey does not answer")]
)
def test_a_valkey_that_cannot_be_had_is_named(trained: Workspace, url: str, problem: str) -> None:
    assert problem in str(load(trained.home, url).exception)


def test_without_a_bundle_there_are_no_users(tmp_path: Path) -> None:
    assert "no bundle is published" in str(load(tmp_path, "redis://127.0.0.1:1/0").exception)

"""A user as a running stack knows them, from a real Valkey."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from valkey import Valkey

from cli.user_lookup import look_up
from cli.workspace import Workspace
from features.actions import Action
from features.user_state import StateEvent, append_command
from tests.valkeys import own_valkey

LOG_END_MS = 1_768_000_000_000


def test_what_a_user_did_before_a_data_clock_started_again_is_no_future(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_valkey() as server, Valkey(**server.connection_kwargs) as client:
        hidden = StateEvent("e1", 7, 3, Action.HIDE, LOG_END_MS + 7_200_000)
        client.execute_command(*append_command("42", [hidden]))
        ports = SimpleNamespace(valkey_url=server.connection_url, address=lambda name: "127.0.0.1:1")
        running = SimpleNamespace(clock="data", ports=ports)
        monkeypatch.setattr("cli.user_lookup.RunningStack", SimpleNamespace(find=lambda run: running))
        bundle: Any = SimpleNamespace(as_of_ms=LOG_END_MS, dataset="any")
        found = look_up(Workspace(tmp_path), bundle, "data", "42")
    assert found.contexts.history_media_id_H.tolist() == [7]
    assert "UTC: unknown" not in str(found)
    assert found.origin == "the running stack"

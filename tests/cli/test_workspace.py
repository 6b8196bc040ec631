"""The directory of one installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.errors import CommandError
from cli.workspace import Workspace


def test_without_a_data_set_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="explore simulate"):
        Workspace(tmp_path).current_dataset()


def test_the_data_set_made_last_is_the_one_in_use(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.use_dataset("simulated")
    workspace.use_dataset("kuairand")
    assert workspace.current_dataset() == workspace.dataset("kuairand")


def test_users_of_two_data_sets_do_not_share_state(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert workspace.user_state("a") != workspace.user_state("b")

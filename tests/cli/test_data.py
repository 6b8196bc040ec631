"""The commands that make data sets never touch more than the one that was named."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import main
from cli.errors import CommandError


def _explore(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main.build(), ["--home", str(home), *arguments])


@pytest.mark.parametrize("name", ["", "..", "../x", "CURRENT"])
@pytest.mark.parametrize(
    "command",
    [("simulate", "--size", "tiny"), ("import", "kuairand", "logs"), ("events", "merge", "export", "--replace")],
    ids=["simulate", "import", "merge"],
)
def test_what_is_no_name_of_a_data_set_is_refused_before_anything_is_read_or_written(
    command: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    error = _explore(home, *command, "--name", name).exception
    assert isinstance(error, CommandError)
    assert f"{name!r} is no name of a data set" in str(error)
    assert not home.exists()

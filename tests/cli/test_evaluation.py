"""`explore eval` on a synthetic world: which stack it starts, and which seeds are none. What it serves is tested end to end."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.commands.evaluation import compare
from cli.errors import StackError
from cli.main import build
from cli.stack import StackPlan
from cli.workspace import Workspace


def test_the_active_bundle_is_judged_without_experiments(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[StackPlan] = []

    def start(plan: StackPlan, *others: object) -> None:
        plans.append(plan)
        raise StackError("nothing more to see")

    monkeypatch.setattr("cli.stack.start", start)
    with pytest.raises(StackError):
        compare(trained, 2, 0)
    (plan,) = plans
    assert (plan.experiments_file, plan.funnel_log, plan.clock) == (None, None, "data")
    assert plan.run != trained.run


@pytest.mark.parametrize("command", ["eval", "train", "simulate"])
def test_a_seed_that_no_generator_takes_is_refused(command: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(build(), ["--home", str(tmp_path), command, "--seed", "-1"])
    assert done.exit_code == 2
    assert "greater than or equal to 0" in done.output

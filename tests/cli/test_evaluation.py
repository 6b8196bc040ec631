"""`explore eval` on a synthetic world: which stack it starts. What the stack serves is tested end to end."""

from __future__ import annotations

import pytest

from cli.commands.evaluation import compare
from cli.errors import StackError
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

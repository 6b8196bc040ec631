"""`let`: columns that a query names, to diversify by them later.

Shapes: P rows of all users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from retrieval_svc.flow import Flow
from retrieval_svc.igql.operator import Operator, Run, operator
from retrieval_svc.igql.stages import Stage
from serving.ragged import Int64

# Which column of a flow stands behind a name, by stage. The seed of actions is their author's account.
SEED, ROW = "seed", "row"
COLUMNS: Mapping[Stage, Mapping[str, str]] = {
    Stage.USER: {"user_id": SEED},
    Stage.ACTIONS: {"media_id": ROW, "account_id": SEED},
    Stage.ACCOUNTS: {"account_id": ROW},
    Stage.MEDIA: {},
}


@operator("let", (Stage.USER, Stage.ACTIONS, Stage.ACCOUNTS), None)
class Let(Operator):
    """Names a column that goes with the rows from here on: let(NAME=COLUMN).

    On the user: user_id is the account that a path starts from, its seed account. On actions: media_id, and account_id, the
    author's. On accounts: account_id.
    """


@dataclass(frozen=True)
class Bind(Operator):
    """One named column, taken where rows have it: what `let` turns into."""

    as_: str
    column: str  # SEED or ROW
    name = "let"

    def run(self, run: Run, flow: Flow, want_B: Int64) -> Flow:
        value_P: Int64 = flow.seed_row_P if self.column == SEED else flow.row_P
        return replace(flow, bound={**flow.bound, self.as_: value_P})

"""Short ways to run a query and to read its answer as ids, and users who follow, mute, block or belong to a segment."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from features.actions import Action
from features.context import UserContexts
from features.item_table import ItemTable
from features.relations import Relation, no_relations
from features.user_state import Profile
from retrieval_svc.audience import Audience
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.flow import NO_ROW, Flow
from retrieval_svc.igql.check import compile_query
from retrieval_svc.igql.errors import IgqlError
from retrieval_svc.igql.execute import Execution
from retrieval_svc.igql.operator import Run
from retrieval_svc.igql.plan import Plan, Step
from retrieval_svc.igql.vocabulary import Vocabulary
from retrieval_svc.tables import Lists
from tests.retrieval_svc.worlds import NOBODY_SAW, NOW, HistoryRow, accounts_of, index_of, tables_of, user

PUBLISHED = (
    "user.let(seed_id=user_id).liked(max_num_to_retrieve=30).account_nn(embedding_config=default)"
    ".posted_media(max_media_per_account=10).filter(non_recommendable_model_threshold=0.2)"
    ".rank(ranking_model=default).diversify_by(seed_id, method=round_robin)"
)


@dataclass(frozen=True)
class Found:
    """What one run gave: ids, seeds and scores of all users in order."""

    flow: Flow
    execution: Execution
    items: ItemTable

    def of(self, number: int) -> list[int]:
        """Media ids of one user."""
        return self.items.media_id_M[self.flow.row_P[self.flow.user_P == number]].tolist()

    @property
    def media(self) -> list[int]:
        return self.items.media_id_M[self.flow.row_P].tolist()

    @property
    def accounts(self) -> list[int]:
        return self.items.account_id_U[self.flow.row_P].tolist()

    @property
    def seeds(self) -> list[int]:
        """Account ids, 0 where there is none."""
        ids_U = self.items.account_id_U
        return [0 if row == NO_ROW else int(ids_U[row]) for row in self.flow.seed_row_P.tolist()]

    @property
    def scores(self) -> list[float]:
        return self.flow.score_P.tolist()

    @property
    def dropped(self) -> dict[str, int]:
        return {reason: int(count_BS.sum()) for reason, count_BS in self.flow.dropped.items()}


def execution_of(
    catalogue: Catalogue,
    plan: Plan,
    contexts: UserContexts,
    count: int = 1000,
    seen: Sequence[int] = (),
    config: SourcingConfig | None = None,
) -> Execution:
    seen_B = [np.array(seen, dtype=np.int64) if seen else NOBODY_SAW] * len(contexts)
    audience = Audience.of(contexts, seen_B, np.full(len(contexts), count), catalogue)
    return Execution(plan, Run(audience, (config or SourcingConfig()).rules(), len(plan.sources)))


def answer(
    catalogue: Catalogue,
    text: str,
    contexts: UserContexts,
    count: int = 1000,
    seen: Sequence[int] = (),
    config: SourcingConfig | None = None,
) -> Found:
    """What a program answers, as compiled, not rewritten."""
    execution = execution_of(catalogue, compile_query(text, catalogue.vocabulary), contexts, count, seen, config)
    return Found(execution.answer(), execution, catalogue.items)


def _before(catalogue: Catalogue, text: str, ending: str, contexts: UserContexts) -> Found:
    plan = compile_query(text + ending, catalogue.vocabulary)
    execution = execution_of(catalogue, plan, contexts)
    return Found(execution.rows(found_by(plan.root), np.full(len(contexts), 1000)), execution, catalogue.items)


def peak_mb(catalogue: Catalogue, text: str, contexts: UserContexts) -> float:
    """The most memory that an answer takes on the way, beyond what was there before."""
    answer(catalogue, text, contexts)  # what a catalogue sorts on first use
    tracemalloc.start()
    try:
        answer(catalogue, text, contexts)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def found_by(eligible: Step) -> Step:
    """The step whose rows an operator that finds media starts from."""
    return eligible.inputs[0].inputs[0]


def actions(catalogue: Catalogue, text: str, contexts: UserContexts) -> Found:
    """The rows of a query that gives actions."""
    return _before(catalogue, text, ".co_occurring()", contexts)


def accounts(catalogue: Catalogue, text: str, contexts: UserContexts) -> Found:
    """The rows of a query that gives accounts."""
    return _before(catalogue, text, ".posted_media()", contexts)


def person(
    name: str = "ann",
    history: Sequence[HistoryRow] = (),
    at_ms: int = NOW,
    segment: str = "",
    account: int = 0,
    followed: Sequence[int] = (),
    muted: Sequence[int] = (),
    blocked: Sequence[int] = (),
) -> UserContexts:
    """One user who stands somehow to accounts; the oldest relation first."""
    relations = {Relation.FOLLOWED: followed, Relation.MUTED: muted, Relation.BLOCKED: blocked}
    return user(name, history, at_ms, Profile(segment=segment, account_id=account), relations)


def easy_going(contexts: UserContexts) -> UserContexts:
    """The same users, who dislike, mute and block nobody and post nothing; what they disliked they clicked."""
    action_H = np.where(contexts.history_action_H >= Action.HIDE, Action.CLICK, contexts.history_action_H)
    return replace(
        contexts,
        history_action_H=action_H.astype(np.uint8),
        account_id_B=np.zeros(len(contexts), dtype=np.int64),
        **no_relations(len(contexts)),
    )


def catalogue_with(items: ItemTable, **tables: Any) -> Catalogue:
    """The catalogue of a table, some of whose lists are given."""
    return Catalogue.assemble(
        items, accounts_of(items), index_of(items.media_vector_MD), replace(tables_of(items), **tables)
    )


def lists(*rows_of_keys: Sequence[int], scores: Sequence[float] = ()) -> Lists:
    """One list of rows per key; `scores` of all rows one after the other."""
    offsets = np.cumsum([0, *(len(rows) for rows in rows_of_keys)]).astype(np.int64)
    row_X = np.array([row for rows in rows_of_keys for row in rows], dtype=np.int32)
    return Lists(offsets, row_X, np.array(scores, dtype=np.float32) if scores else None)


def refusal(text: str, vocabulary: Vocabulary | None = None) -> IgqlError:
    """Why a program does not compile."""
    try:
        compile_query(text, vocabulary)
    except IgqlError as error:
        return error
    raise AssertionError(f"compiles: {text}")


def word_under_caret(error: IgqlError) -> str:
    """The part of the line that the carets stand under, as a person sees it."""
    _, line, caret, *_ = str(error).split("\n")
    start = caret.index("^")
    assert [letter == "\t" for letter in line[:start]] == [letter == "\t" for letter in caret[:start]]
    return line[start : len(caret)]

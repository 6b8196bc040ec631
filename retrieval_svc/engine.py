"""Sourcing for a batch of users: the plans of their queries, run over the catalogue of one bundle under the rules of the service.

Knows no gRPC, no environment and no clock. Results of a user never depend on who else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from features.context import UserContexts, of_users
from features.user_state import EMPTY
from retrieval_svc.audience import Audience
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.igql.execute import Execution
from retrieval_svc.igql.named import NamedQueries
from retrieval_svc.igql.operator import Run
from retrieval_svc.igql.plan import Plan
from retrieval_svc.igql.recipe import lists_of
from retrieval_svc.sourced import Sourced, SourcingReports, sourced
from retrieval_svc.takedowns import CatalogueTakedowns
from retrieval_svc.together import Part
from serving.columns import Lists
from serving.ragged import Int64


class _Executions:
    """Starts runs of plans. Knows no engine: the engine's query file calls this, and a cycle would outlive a dropped bundle."""

    def __init__(self, catalogue: Catalogue, config: SourcingConfig) -> None:
        self._catalogue, self._rules = catalogue, config.rules()
        self.takedowns = CatalogueTakedowns(catalogue, config.takedown_file)

    def start(
        self, plan: Plan, contexts: UserContexts, seen_B: Sequence[Int64], count_B: Int64, keyed: bool = False
    ) -> Execution:
        audience = Audience.of(contexts, seen_B, count_B, self._catalogue)
        return Execution(plan, Run(audience, (*self.takedowns.rules(), *self._rules), len(plan.sources), keyed))

    def warm_up(self, plan: Plan) -> None:
        """Sources once, so that what a plan sorts or opens on first use is there before somebody waits for it."""
        nobody = EMPTY.context("warm-up", self._catalogue.items.as_of_ms, "")
        self.start(plan, nobody, [np.empty(0, dtype=np.int64)], np.array([1])).answer()


class RetrievalEngine:
    """Sources candidates from one catalogue. Safe to call from several threads."""

    def __init__(self, catalogue: Catalogue, config: SourcingConfig) -> None:
        """Raises IgqlError if the default query does not fit the bundle, TakedownsRefused for a broken list of takedowns."""
        self.catalogue = catalogue
        self._executions = _Executions(catalogue, config)
        self._queries = NamedQueries(
            config.igql_file, config.igql_directory, catalogue.vocabulary, self._executions.warm_up
        )

    @property
    def refused(self) -> str:
        """What is wrong with the files that people change, as they are now; empty if nothing is. What was before goes on."""
        return "; ".join(problem for problem in (self._queries.refused, self._executions.takedowns.refused) if problem)

    def retrieve(self, contexts: UserContexts, seen_B: Sequence[Int64], count_B: Int64, query: str = "") -> Sourced:
        """`count_B` candidates for each of B users who have been shown `seen_B` (media ids); fewer only if no more are eligible.

        Raises UnknownQuery.
        """
        plan = self._queries.plan(query)
        return sourced(self.execution(plan, contexts, seen_B, count_B).answer(), plan, self.catalogue.items)

    def lists(
        self, contexts: UserContexts, seen_B: Sequence[Int64], count_B: Int64, query: str = ""
    ) -> tuple[Lists, SourcingReports]:
        """What `retrieve` would mix: this shard's part of every list of the query. Raises UnknownQuery."""
        plan = self._queries.plan(query)
        found = lists_of(self.execution(plan, contexts, seen_B, count_B, keyed=True), plan)
        answer = sourced(found.flow, plan, self.catalogue.items)
        unscored_N = np.full(len(found.flow), np.nan, dtype=np.float32)
        candidates = replace(answer.candidates, score_N=unscored_N)
        return found.as_lists(candidates), answer.reports

    def retrieve_by_query(
        self, contexts: UserContexts, seen_B: Sequence[Int64], count_B: Int64, queries_B: Sequence[str]
    ) -> list[Part]:
        """`retrieve` for users whose queries differ: one answer per query, for the users that have it. Raises UnknownQuery."""
        if len(set(queries_B)) == 1:
            return [Part(np.arange(len(contexts)), self.retrieve(contexts, seen_B, count_B, queries_B[0]))]
        users = {query: np.flatnonzero([each == query for each in queries_B]) for query in dict.fromkeys(queries_B)}
        return [
            Part(
                user_X,
                self.retrieve(of_users(contexts, user_X), [seen_B[b] for b in user_X.tolist()], count_B[user_X], query),
            )
            for query, user_X in users.items()
        ]

    def execution(
        self, plan: Plan, contexts: UserContexts, seen_B: Sequence[Int64], count_B: Int64, keyed: bool = False
    ) -> Execution:
        """One run of any plan, not started yet. `keyed`: its lists are to be merged with those of other shards."""
        return self._executions.start(plan, contexts, seen_B, count_B, keyed)

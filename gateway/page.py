"""From the last standing to the page: value model, then diversity. Shapes: N candidates, K items of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.exposures import Exposure
from gateway import paging
from gateway.diversity import NOTHING_FIRST, DiversityConfig, Selection, factors, select
from gateway.experiments.layers import NO_ARMS, Assignment
from gateway.feed import FeedItem, FeedRequest, Page, Standing
from gateway.missed import MISSED, Absence
from gateway.random_slots import NO_RANDOM_SLOTS, Draw, RandomSlots
from gateway.trace import Discounts, Trace
from gateway.value_model import value

DIVERSITY = "diversity"  # name in debug and telemetry


@dataclass(frozen=True)
class PagePolicy:
    """How a page is made: what experiments may change, and the arms that did."""

    weights: Mapping[str, float]
    diversity: DiversityConfig
    random_slots: RandomSlots = NO_RANDOM_SLOTS
    query: str = ""  # name of the query that candidates are sourced with; "" = the default one
    assignment: Assignment = NO_ARMS


def compose(
    standing: Standing, request: FeedRequest, policy: PagePolicy, trace: Trace, absence: Absence | None = None
) -> tuple[FeedItem, ...]:
    """The items of the page in order. Candidates that nothing scored keep their order, behind no scored one.

    Chance decides only between items of known value: a lost cascade cannot tell which of them have a negative one. `absence`: the
    user comes back from one, so what was missed goes first.
    """
    score_N, valued = _final_score(standing, policy)
    columns = standing.candidates
    author_N, seed_N = columns.author_id_N, columns.seed_account_id_N
    first_F = NOTHING_FIRST
    if absence is not None and valued:
        first_F = absence.best(columns, score_N, request.page_size, policy.diversity)
    chance = valued and policy.random_slots.share > 0
    draw = Draw(policy.random_slots, request.request_id, request.cursor.next_position) if chance else None
    picked = select(score_N, author_N, seed_N, request.page_size, policy.diversity, first_F, draw)
    _explain(standing, score_N, picked, policy, trace)
    return _items(standing, picked, score_N if valued else None, request.cursor.next_position, len(first_F))


def _items(
    standing: Standing, picked: Selection, value_N: NDArray[np.float64] | None, position: int, missed: int
) -> tuple[FeedItem, ...]:
    """The picked rows as items, from columns that are read once; `value_N` is None where no stage predicted tasks."""
    columns, row_K = standing.candidates, picked.row_K
    media, author = columns.media_id_N[row_K].tolist(), columns.author_id_N[row_K].tolist()
    seed, source = columns.seed_account_id_N[row_K].tolist(), columns.source_index_N[row_K].tolist()
    value = [None] * len(row_K) if value_N is None else value_N[row_K].tolist()
    factor, propensity = picked.factor_K.tolist(), picked.propensity_K.tolist()
    probability = standing.probability_NT[row_K].tolist()
    paths = columns.source_paths or ("",) * len(columns.sources)
    return tuple(
        FeedItem(
            media_id=media[place],
            author_id=author[place],
            position=position + place,
            value=value[place],
            diversity_factor=factor[place],
            task_probability=dict(zip(standing.tasks, probability[place], strict=True)),
            source=columns.sources[source[place]],
            source_path=paths[source[place]],
            seed_account_id=seed[place],
            propensity=propensity[place],
            module=MISSED if place < missed else "",
        )
        for place in range(len(row_K))
    )


def exposure_of(request: FeedRequest, page: Page) -> Exposure:
    """What the page showed, and how likely that was."""
    return Exposure(
        request_id=request.request_id,
        user_id=request.user_id,
        time_ms=request.time_ms,
        surface=request.surface,
        arms=page.arms.arms,
        arm_propensity=page.arms.propensity,
        bundle_version=page.bundle_version,
        media_id_K=np.array([item.media_id for item in page.items], dtype=np.int64),
        position_K=np.array([item.position for item in page.items], dtype=np.int64),
        propensity_K=np.array([item.propensity for item in page.items], dtype=np.float64),
    )


def next_token(request: FeedRequest, items: tuple[FeedItem, ...]) -> str:
    """The token of the page after this one; empty when this page was not full, so that nothing is left."""
    if len(items) < request.page_size:
        return ""
    shown_S = np.concatenate(
        [request.cursor.shown_media_id_S, np.array([item.media_id for item in items], dtype=np.int64)]
    )
    return paging.encode(request.user_id, paging.Cursor(request.cursor.next_position + len(items), shown_S))


def _final_score(standing: Standing, policy: PagePolicy) -> tuple[NDArray[np.float64], bool]:
    """Values if some stage predicted tasks; else the order in which the last stage left the candidates, as falling scores.

    A score of a lost cascade has its own scale (a student's score, a similarity, or none), so only its order is used.
    """
    if standing.tasks:
        return value(standing.probability_NT, standing.tasks, policy.weights), True
    count = len(standing.candidates)
    return np.arange(count, 0, -1, dtype=np.float64) / max(count, 1), False


def _explain(
    standing: Standing, score_N: NDArray[np.float64], picked: Selection, policy: PagePolicy, trace: Trace
) -> None:
    if not trace.debug:
        return
    columns = standing.candidates
    author_N, seed_N = factors(picked.row_K, columns.author_id_N, columns.seed_account_id_N, policy.diversity)
    trace.weights = policy.weights
    trace.pick(DIVERSITY, columns.media_id_N, picked, Discounts(score_N, author_N, seed_N))

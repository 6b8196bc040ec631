"""A trace as `FeedDebug`: what `explore explain` and the debug field of GetFeed show. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.trace import DiversityOutcome, Placement, StageRun, Trace
from gateway.value_model import terms
from protos.explore.v1.feed_pb2 import (
    CandidateDebug,
    DiversityDebug,
    FeedDebug,
    StageDebug,
    StagePlacement,
    TaskProbability,
    ValueDebug,
    ValueTerm,
)


def debug_message(trace: Trace) -> FeedDebug:
    """Everything that a trace with `debug` has recorded."""
    degraded = {entry.stage for entry in trace.degradations}
    return FeedDebug(
        stages=[_stage(run, trace.cutoff.get(run.stage), run.stage in degraded) for run in trace.runs],
        candidates=_candidates(trace),
        sources=trace.sources,
        value_weights=trace.weights,
    )


def probabilities(by_task: Mapping[str, float]) -> list[TaskProbability]:
    """P(task) of one candidate."""
    return [TaskProbability(task=task, probability=probability) for task, probability in by_task.items()]


def _stage(run: StageRun, cutoff: float | None, degraded: bool) -> StageDebug:
    return StageDebug(
        stage=run.stage,
        candidates_in=run.candidates_in,
        candidates_out=run.candidates_out,
        elapsed_us=run.elapsed_us,
        cutoff=cutoff,
        degraded=degraded,
    )


def _candidates(trace: Trace) -> list[CandidateDebug]:
    columns = trace.sourced
    if columns is None:
        return []
    return [
        CandidateDebug(
            media_id=media_id,
            author_id=int(columns.author_id_N[row]),
            source=columns.source(row),
            source_path=columns.source_path(row),
            seed_account_id=int(columns.seed_account_id_N[row]),
            placements=[_placement(placement) for placement in trace.placements[media_id]],
            dropped=trace.dropped.get(media_id, ""),
            value=_value(trace.placements[media_id], trace.weights),
            diversity=_diversity(trace.diversity.get(media_id)),
        )
        for row, media_id in enumerate(columns.media_id_N.tolist())
    ]


def _placement(placement: Placement) -> StagePlacement:
    return StagePlacement(
        stage=placement.stage,
        rank=placement.rank,
        score=placement.score,
        task_probabilities=probabilities(placement.task_probability),
    )


def _value(placements: list[Placement], weights: Mapping[str, float]) -> ValueDebug | None:
    """By the last stage that predicted tasks: those before it saw less."""
    last = next((placement for placement in reversed(placements) if placement.task_probability), None)
    if last is None:
        return None
    found = terms(last.task_probability, weights)
    return ValueDebug(
        stage=last.stage,
        value=sum(term.worth for term in found),
        terms=[
            ValueTerm(task=term.task, weight=term.weight, probability=term.probability, term=term.worth)
            for term in found
        ],
    )


def _diversity(outcome: DiversityOutcome | None) -> DiversityDebug | None:
    if outcome is None:
        return None
    return DiversityDebug(
        author_factor=outcome.author_factor,
        seed_factor=outcome.seed_factor,
        factor=outcome.author_factor * outcome.seed_factor,
        discounted=outcome.discounted,
        place=outcome.place,
    )

"""The marks by which `benchmarks.swap` tells which bundle a stage answered from."""

from __future__ import annotations

from benchmarks.swap_bundles import CLASSES, MARKED, Mark
from protos.explore.v1.feed_pb2 import (
    CandidateDebug,
    FeedDebug,
    FeedItem,
    GetFeedResponse,
    StagePlacement,
    TaskProbability,
)

TASKS = ("click", "like")


def mark(number: int) -> Mark:
    return Mark(number, TASKS, {"click": 1.0 + number, "like": 4.0})


def page(versions: dict[str, int]) -> GetFeedResponse:
    """A page whose stages answered from the marked bundles of these numbers."""
    of = {stage: mark(number) for stage, number in versions.items()}

    def predicted(stage: str) -> list[TaskProbability]:
        return [
            TaskProbability(task="click", probability=of[stage].probability),
            TaskProbability(task="like", probability=0.3),
        ]

    placements = [
        StagePlacement(stage="prerank", rank=1, score=of["prerank"].offset + 3),
        StagePlacement(stage="rank", rank=1, score=1.0, task_probabilities=predicted("rank")),
        StagePlacement(stage="rerank", rank=1, score=1.0, task_probabilities=predicted("rerank")),
    ]
    media = [media for media in range(1, 50) if media % CLASSES != of["retrieval"].missing_class]
    probabilities = predicted("rerank")
    value = sum(of["gateway"].weights[each.task] * each.probability for each in probabilities)
    return GetFeedResponse(
        items=[FeedItem(media_id=media[0], value=value, task_probabilities=probabilities)],
        debug=FeedDebug(candidates=[CandidateDebug(media_id=each, placements=placements) for each in media]),
    )


def test_the_stages_of_one_version_fit_its_mark_and_no_other() -> None:
    whole = page(dict.fromkeys(MARKED, 1))
    assert [mark(number).strangers(whole) for number in (0, 1, 2)] == [MARKED, set(), MARKED]


def test_a_stage_that_answers_from_another_version_is_named() -> None:
    for stage in MARKED:
        mixed = page(dict.fromkeys(MARKED, 1) | {stage: 3})
        assert mark(1).strangers(mixed) == {stage}

"""What `explore explain` prints of a response."""

from __future__ import annotations

from rich.console import Console, RenderableType

from cli.explain_tables import candidates_table, funnel_tables, item_story, page_story
from protos.explore.v1.feed_pb2 import (
    CandidateDebug,
    DiversityDebug,
    FeedDebug,
    FeedItem,
    GetFeedResponse,
    StageDebug,
    StagePlacement,
    ValueDebug,
    ValueTerm,
)
from protos.explore.v1.retrieval_pb2 import SourceReport

ON_PAGE = CandidateDebug(
    media_id=5,
    author_id=8,
    source="fresh",
    seed_account_id=9,
    placements=[StagePlacement(stage="retrieval", rank=3), StagePlacement(stage="rank", rank=0, score=0.5)],
    value=ValueDebug(
        stage="rank",
        value=1.5,
        terms=[
            ValueTerm(task="like", weight=4, probability=0.5, term=2.0),
            ValueTerm(task="negative", weight=-10, probability=0.05, term=-0.5),
        ],
    ),
    diversity=DiversityDebug(author_factor=0.625, seed_factor=0.5, factor=0.3125, discounted=0.46875, place=0),
)
DROPPED = CandidateDebug(
    media_id=6,
    author_id=7,
    source="fresh",
    placements=[StagePlacement(stage="retrieval", rank=0), StagePlacement(stage="rank", rank=99, score=0.25)],
    dropped="rank: rank 100 of 150, kept 50",
)
DEBUG = FeedDebug(
    stages=[
        StageDebug(stage="retrieval", candidates_out=2),
        StageDebug(stage="rank", candidates_in=2, candidates_out=1, cutoff=0.375, elapsed_us=2500),
        StageDebug(stage="rerank", candidates_in=1, candidates_out=1, degraded=True),
        StageDebug(stage="diversity", candidates_in=1, candidates_out=1, cutoff=0.46875),
    ],
    candidates=[DROPPED, ON_PAGE],
    sources=[SourceReport(source="fresh", proposed=9, kept=2, dropped={"seen": 3, "duplicate": 4})],
    value_weights={"like": 4.0, "negative": -10.0},
)


def _lines(renderable: RenderableType) -> list[str]:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(renderable)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_the_page_tells_how_each_item_got_there() -> None:
    item = FeedItem(media_id=5, author_id=8, source="fresh", value=1.5, module="missed")
    lines = _lines(page_story(GetFeedResponse(items=[item], debug=DEBUG), "42"))
    assert "1 5 8 fresh 4 1 1.5000 0.62 0.50 0.4688 missed" in lines


def test_the_funnel_tells_cut_offs_times_and_what_was_lost() -> None:
    lines = _lines(funnel_tables(DEBUG))
    assert "retrieval 0 2 - 0.0" in lines
    assert "rank 2 1 0.3750 2.5" in lines
    assert "rerank 1 1 - 0.0 degraded" in lines


def test_sources_tell_what_became_of_their_media_and_the_value_model_its_weights() -> None:
    lines = _lines(funnel_tables(DEBUG))
    assert "fresh 9 2 duplicate 4, seen 3" in lines
    assert "value = -10 x P(negative) +4 x P(like)" in lines


def test_every_candidate_tells_where_it_ended() -> None:
    lines = _lines(candidates_table(DEBUG))
    assert "6 7 fresh 1 100 / 0.25 - - - - rank: rank 100 of 150, kept 50" in lines
    assert "5 8 fresh 4 1 / 0.50 1.5000 0.62 0.50 0.4688 on the page" in lines


def test_an_item_of_the_page_is_taken_apart() -> None:
    lines = _lines(item_story(DEBUG, ON_PAGE))
    assert lines[:2] == ["Media 5 of account 8: at place 1 of the page", "source fresh, from seed account 9"]
    assert "rank 1 2 1 0.5000 0.3750" in lines
    assert {"like 4 0.5000 2.0000", "negative -10 0.0500 -0.5000", "sum 1.5000"} <= set(lines)
    assert "diversity: author factor 0.6250 x seed factor 0.5000 = 0.3125, so it counts 0.4688" in lines


def test_a_dropped_item_says_where_and_claims_no_value() -> None:
    lines = _lines(item_story(DEBUG, DROPPED))
    assert lines[0] == "Media 6 of account 7: not on the page: rank: rank 100 of 150, kept 50"
    assert "no value: no stage that it reached predicts tasks" in lines


def test_an_item_that_the_page_had_no_place_for_is_told_what_it_would_have_taken() -> None:
    rule = DiversityDebug(author_factor=1, seed_factor=0.5, factor=0.5, discounted=0.25)
    left = CandidateDebug(media_id=7, diversity=rule, dropped="diversity: others were worth more")
    assert _lines(item_story(DEBUG, left))[-1].endswith("so it counts 0.2500; the last on the page counts 0.4688")


def test_nothing_at_all_can_be_shown() -> None:
    assert "All 0 candidates (rank / score per stage)" in _lines(candidates_table(FeedDebug()))
    assert _lines(page_story(GetFeedResponse(), "42"))
    assert _lines(funnel_tables(FeedDebug()))

"""A page as people and as programs read it."""

from __future__ import annotations

from rich.console import Console, RenderableType

from cli.explain_tables import candidates_table
from cli.feed_table import as_json, page_table
from protos.explore.v1.feed_pb2 import (
    CandidateDebug,
    Degradation,
    DegradationReason,
    FeedDebug,
    FeedItem,
    GetFeedResponse,
    TaskProbability,
)

ITEM = FeedItem(
    media_id=2**53 + 1,
    author_id=7,
    value=1.25,
    diversity_factor=0.625,
    task_probabilities=[TaskProbability(task="like", probability=0.5)],
    source="account_nn",
    source_path="liked > author > account_nn > posted_media > mix",
    seed_account_id=9,
)


def _text(renderable: RenderableType, width: int = 160) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def test_a_row_shows_media_author_source_seed_value_and_probabilities() -> None:
    row = next(
        line for line in _text(page_table(GetFeedResponse(items=[ITEM]), "42")).splitlines() if "account_nn" in line
    )
    assert row.split() == ["1", str(2**53 + 1), "7", "account_nn", "9", "1.2500", "0.62", "0.500"]


def test_an_item_without_value_or_seed_shows_a_dash_and_not_a_zero() -> None:
    bare = FeedItem(media_id=1, author_id=2, source="fresh", diversity_factor=1)
    row = next(line for line in _text(page_table(GetFeedResponse(items=[bare]), "42")).splitlines() if "fresh" in line)
    assert row.split() == ["1", "1", "2", "fresh", "-", "-", "1.00"]


def _of_tasks(*tasks: str) -> GetFeedResponse:
    probabilities = [TaskProbability(task=task, probability=0.5) for task in tasks]
    return GetFeedResponse(items=[FeedItem(media_id=1, author_id=2, source="fresh", task_probabilities=probabilities)])


def test_a_narrow_screen_shows_the_first_actions_whole_and_names_the_others() -> None:
    tasks = ("click", "long_view", "like", "save", "share", "comment", "follow", "negative")
    for width, shown in ((160, 8), (100, 8), (80, 5), (60, 2)):
        text = _text(page_table(_of_tasks(*tasks), "42"), width)
        (row,) = (line.split() for line in text.splitlines() if "fresh" in line)
        assert row[7:] == ["0.500"] * shown, width
        named = " ".join(text.split()).partition("no room for ")[2].partition(" (")[0]
        assert named == ", ".join(tasks[shown:]), width


def test_the_path_of_every_source_stands_below_the_page_once() -> None:
    text = _text(page_table(GetFeedResponse(items=[ITEM, ITEM]), "42"), 132)
    (line,) = (line for line in text.splitlines() if "posted_media" in line)
    assert line.strip() == f"account_nn  {ITEM.source_path}"


def test_a_path_wider_than_the_screen_is_folded_and_not_cut() -> None:
    long = FeedItem(source="similar", source_path=" > ".join(["posted_media"] * 20))
    assert _text(page_table(GetFeedResponse(items=[long]), "42"), 80).count("posted_media") == 20


def test_a_source_with_several_paths_gets_a_number_for_each() -> None:
    items = [FeedItem(source="cold", source_path=path) for path in ("trending > mix", "segment_trending > mix")]
    candidates = [CandidateDebug(source=item.source, source_path=item.source_path) for item in items]
    page = _text(page_table(GetFeedResponse(items=items), "42"))
    debug = _text(candidates_table(FeedDebug(candidates=candidates)))
    for text in (page, debug):
        legend = dict(line.split(maxsplit=1) for line in text.splitlines() if " > " in line)
        assert {name: path.strip() for name, path in legend.items()} == {
            "cold#1": "segment_trending > mix",
            "cold#2": "trending > mix",
        }
        assert (text.count("cold#1"), text.count("cold#2")) == (2, 2)


def test_candidates_stand_closer_on_a_screen_that_has_no_room_for_air() -> None:
    debug = FeedDebug(candidates=[CandidateDebug(media_id=1, author_id=2, source="fresh", dropped="prerank")])
    wide, narrow = (_text(candidates_table(debug), width) for width in (160, 70))
    (loose,), (tight,) = ([line for line in text.splitlines() if "fresh" in line] for text in (wide, narrow))
    assert tight.split() == loose.split()
    assert len(tight.rstrip()) < len(loose.rstrip())


def test_without_paths_there_is_no_legend() -> None:
    bare = FeedItem(source="popular_fallback")
    assert "How the sources" not in _text(page_table(GetFeedResponse(items=[bare]), "42"))


def test_a_degradation_is_shown() -> None:
    lost = Degradation(stage="rank", reason=DegradationReason.DEGRADATION_REASON_DEADLINE, detail="too late")
    assert "degraded: rank: DEADLINE: too late" in _text(page_table(GetFeedResponse(degradations=[lost]), "42"))


def test_a_cold_start_is_said() -> None:
    assert "cold start" in _text(page_table(GetFeedResponse(cold_start=True), "42"))


def _words(page: GetFeedResponse) -> str:
    """The table without its line breaks: captions are as wide as the table above them."""
    return " ".join(_text(page_table(page, "42")).split())


def test_arms_are_shown_with_their_propensity_and_places_of_chance_are_counted() -> None:
    items = [FeedItem(source="fresh", propensity=propensity) for propensity in (1.0, 0.02, 0.98)]
    page = GetFeedResponse(items=items, arm="a=x", arms={"a": "x"}, arm_propensity=0.025)
    assert "arm a=x (propensity 0.025), request" in _words(page)
    assert "2 places left to chance" in _words(page)
    forced = GetFeedResponse(arm="a=forced:x", arms={"a": "forced:x"}, arm_propensity=1, arms_excluded=True)
    assert "arm a=forced:x (propensity 1, not to be counted), request" in _words(forced)
    assert "arm default, request" in _words(GetFeedResponse(arm="default", arm_propensity=1))


def test_json_has_the_path() -> None:
    assert as_json(GetFeedResponse(items=[ITEM]))["items"][0]["source_path"] == ITEM.source_path  # type: ignore[index]


def test_json_keeps_large_ids_whole() -> None:
    assert as_json(GetFeedResponse(items=[ITEM]))["items"][0]["media_id"] == str(2**53 + 1)  # type: ignore[index]

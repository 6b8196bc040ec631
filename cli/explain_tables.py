"""Why a page is as it is, as tables for people: the page with its way through the funnel, the funnel, sources, one item in full."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import LOOSE, TIGHT, Fitting, Padding
from cli.feed_table import Labels, about, degradation_lines, source_labels, source_legend, sources_of
from protos.explore.v1.feed_pb2 import CandidateDebug, FeedDebug, GetFeedResponse, StagePlacement, ValueDebug

_NONE = "-"


def page_story(response: GetFeedResponse, user_id: str) -> RenderableType:
    """The page with the rank of every item in every stage, its value and what the diversity rule left of it."""
    labels = _labels(response.debug)
    versions = [_page_table(response, user_id, labels, padding) for padding in (LOOSE, TIGHT)]
    return Group(Fitting(versions), *source_legend(sources_of(response.items), labels), *degradation_lines(response))


def _page_table(response: GetFeedResponse, user_id: str, labels: Labels, padding: Padding) -> Table:
    debug = response.debug
    stages = _placing_stages(debug)
    table = Table(
        title=f"Page for user {user_id}",
        caption=f"stages: rank there, from 1\n{about(response)}",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=padding,
    )
    columns = ("#", "media", "author", "source", *stages, "value", "author\nfactor", "seed\nfactor", "counts", "module")
    for name in columns:
        table.add_column(name, justify="left" if name in ("source", "module") else "right", no_wrap=True)
    found = {candidate.media_id: candidate for candidate in debug.candidates}
    for item in response.items:
        candidate = found[item.media_id]
        head = [str(item.position + 1), str(item.media_id), str(item.author_id)]
        ranks = {placement.stage: str(placement.rank + 1) for placement in candidate.placements}
        table.add_row(
            *head,
            labels[item.source, item.source_path],
            *(ranks.get(stage, _NONE) for stage in stages),
            *_worth_cells(candidate),
            item.module,
        )
    return table


def funnel_tables(debug: FeedDebug) -> RenderableType:
    """Stage by stage who came in and who went on, then what became of the media of each source, and the value model."""
    funnel = Table(title="Funnel", box=box.SIMPLE_HEAD)
    for name in ("stage", "in", "out", "cut-off", "ms", ""):
        funnel.add_column(name, justify="left" if name in ("stage", "") else "right")
    for run in debug.stages:
        cutoff = f"{run.cutoff:.4f}" if run.HasField("cutoff") else _NONE
        counts = (str(run.candidates_in), str(run.candidates_out))
        funnel.add_row(run.stage, *counts, cutoff, f"{run.elapsed_us / 1000:.1f}", "degraded" if run.degraded else "")
    parts: list[RenderableType] = [funnel]
    if debug.sources:
        parts.append(_sources_table(debug))
    if debug.value_weights:
        weights = sorted(debug.value_weights.items(), key=lambda entry: (-abs(entry[1]), entry[0]))
        parts.append(Text("value = " + " ".join(f"{weight:+g} x P({task})" for task, weight in weights)))
    return Group(*parts)


def candidates_table(debug: FeedDebug) -> RenderableType:
    """Every candidate with its rank and score in each stage, what it is worth, and the reason why it ended."""
    labels = _labels(debug)
    versions = [_all_table(debug, labels, padding) for padding in (LOOSE, TIGHT)]
    return Group(Fitting(versions), *source_legend(sources_of(debug.candidates), labels))


def _all_table(debug: FeedDebug, labels: Labels, padding: Padding) -> Table:
    stages, title = _placing_stages(debug), f"All {len(debug.candidates)} candidates (rank / score per stage)"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=padding)
    for name in ("media", "author", "source", *stages, "value", "author\nfactor", "seed\nfactor", "counts", "outcome"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("source", "outcome") else "right")
    for candidate in debug.candidates:
        table.add_row(*_candidate_cells(candidate, stages, labels))
    return table


def item_story(debug: FeedDebug, candidate: CandidateDebug) -> RenderableType:
    """Everything that is known about one candidate: why it is where it is."""
    place = f"at place {candidate.diversity.place + 1} of the page"
    outcome = f"not on the page: {candidate.dropped}" if candidate.dropped else place
    seed = f", from seed account {candidate.seed_account_id}" if candidate.seed_account_id else ""
    path = f" ({candidate.source_path})" if candidate.source_path else ""
    head = Text(f"Media {candidate.media_id} of account {candidate.author_id}: {outcome}", "bold")
    parts: list[RenderableType] = [head, Text(f"source {candidate.source}{path}{seed}")]
    parts.append(_placements_table(debug, candidate.placements))
    if candidate.HasField("value"):
        parts.append(_terms_table(candidate.value))
    else:
        parts.append(Text("no value: no stage that it reached predicts tasks"))
    if candidate.HasField("diversity"):
        parts.append(Text(_diversity_line(debug, candidate)))
    return Group(*parts)


def _diversity_line(debug: FeedDebug, candidate: CandidateDebug) -> str:
    rule = candidate.diversity
    line = f"diversity: author factor {rule.author_factor:.4f} x seed factor {rule.seed_factor:.4f} = {rule.factor:.4f}"
    line = f"{line}, so it counts {rule.discounted:.4f}"
    cutoff = next((run.cutoff for run in debug.stages if run.stage == "diversity" and run.HasField("cutoff")), None)
    return line if cutoff is None or rule.HasField("place") else f"{line}; the last on the page counts {cutoff:.4f}"


def _placements_table(debug: FeedDebug, placements: Sequence[StagePlacement]) -> Table:
    placed = {placement.stage: placement for placement in placements}
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("stage", "rank", "of", "kept", "score", "cut-off"):
        table.add_column(name, justify="left" if name == "stage" else "right")
    for run in debug.stages:
        placement = placed.get(run.stage)
        if placement is None:
            continue
        ranked = sum(any(p.stage == run.stage for p in candidate.placements) for candidate in debug.candidates)
        score = f"{placement.score:.4f}" if placement.HasField("score") else _NONE
        cutoff = f"{run.cutoff:.4f}" if run.HasField("cutoff") else _NONE
        table.add_row(run.stage, str(placement.rank + 1), str(ranked), str(run.candidates_out), score, cutoff)
    return table


def _terms_table(worth: ValueDebug) -> Table:
    table = Table(title=f"Value by {worth.stage}", title_justify="left", box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("task", footer="sum")
    table.add_column("weight", justify="right")
    table.add_column("probability", justify="right")
    table.add_column("term", justify="right", footer=f"{worth.value:.4f}")
    for term in worth.terms:
        table.add_row(term.task, f"{term.weight:g}", f"{term.probability:.4f}", f"{term.term:.4f}")
    return table


def _sources_table(debug: FeedDebug) -> Table:
    table, labels = Table(title="Sources", box=box.SIMPLE_HEAD), _labels(debug)
    for name in ("source", "proposed", "kept", "dropped"):
        table.add_column(name, justify="right" if name in ("proposed", "kept") else "left")
    for report in debug.sources:
        dropped = sorted(report.dropped.items(), key=lambda entry: (-entry[1], entry[0]))
        reasons = ", ".join(f"{reason} {count}" for reason, count in dropped)
        table.add_row(labels[report.source, report.path], str(report.proposed), str(report.kept), reasons)
    return table


def _labels(debug: FeedDebug) -> Labels:
    """One name per source and path, the same in all tables."""
    return source_labels([*sources_of(debug.candidates), *((report.source, report.path) for report in debug.sources)])


def _placing_stages(debug: FeedDebug) -> list[str]:
    placing = {placement.stage for candidate in debug.candidates for placement in candidate.placements}
    return [run.stage for run in debug.stages if run.stage in placing]


def _candidate_cells(candidate: CandidateDebug, stages: list[str], labels: Labels) -> list[str]:
    placed = {
        p.stage: f"{p.rank + 1} / {p.score:.2f}" if p.HasField("score") else f"{p.rank + 1}"
        for p in candidate.placements
    }
    head = [str(candidate.media_id), str(candidate.author_id), labels[candidate.source, candidate.source_path]]
    ranks = (placed.get(stage, "") for stage in stages)
    return [*head, *ranks, *_worth_cells(candidate), candidate.dropped or "on the page"]


def _worth_cells(candidate: CandidateDebug) -> list[str]:
    """Value, author factor, seed factor, and what it counts after both."""
    value = f"{candidate.value.value:.4f}" if candidate.HasField("value") else _NONE
    if not candidate.HasField("diversity"):
        return [value, _NONE, _NONE, _NONE]
    rule = candidate.diversity
    return [value, f"{rule.author_factor:.2f}", f"{rule.seed_factor:.2f}", f"{rule.discounted:.4f}"]

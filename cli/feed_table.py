"""A page of recommendations as a table for people, and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.json_format import MessageToDict
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import LOOSE, TIGHT, Fitting, Padding
from protos.explore.v1.feed_pb2 import CandidateDebug, DegradationReason, FeedItem, GetFeedResponse

Source = tuple[str, str]  # name and operator path
Labels = Mapping[Source, str]  # what the tables call a source


def page_table(response: GetFeedResponse, user_id: str) -> RenderableType:
    """Items in order with what they are worth and why; below it how each source found them, and whatever did not work.

    A narrow screen shows the probabilities of the first actions only, and names the others.
    """
    labels = source_labels(sources_of([*response.items, *response.debug.candidates]))
    tasks = [entry.task for entry in response.items[0].task_probabilities] if response.items else []
    tight = (
        _items_table(response, user_id, labels, tasks[:shown], tasks[shown:], TIGHT)
        for shown in range(len(tasks), -1, -1)
    )
    versions = [_items_table(response, user_id, labels, tasks, [], LOOSE), *tight]
    return Group(Fitting(versions), *source_legend(sources_of(response.items), labels), *degradation_lines(response))


def _items_table(
    response: GetFeedResponse,
    user_id: str,
    labels: Labels,
    tasks: Sequence[str],
    left_out: Sequence[str],
    padding: Padding,
) -> Table:
    no_room = f"; no room for {', '.join(left_out)} (--json has all)" if left_out else ""
    table = Table(
        title=f"Page for user {user_id}",
        caption=f"columns behind diversity: predicted probability of each action{no_room}\n{about(response)}",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=padding,
    )
    for name in ("#", "media", "author", "source", "seed\naccount", "value", "diver-\nsity"):
        table.add_column(name, justify="left" if name == "source" else "right", no_wrap=True)
    for task in tasks:
        table.add_column(task.replace("_", "_\n"), justify="right", no_wrap=True)
    for item in response.items:
        table.add_row(*_cells(item, labels, len(tasks)))
    return table


def as_json(response: GetFeedResponse) -> dict[str, object]:
    """The response with the field names of the .proto. 64-bit ids are strings, as in proto3 JSON."""
    return MessageToDict(response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def source_labels(sources: Iterable[Source]) -> Labels:
    """A source is called by its name. One that finds media on several paths gets a number for each, the same in all tables."""
    paths: dict[str, set[str]] = {}
    for source, path in sources:
        paths.setdefault(source, set()).add(path)
    return {
        (source, path): source if len(several) == 1 else f"{source}#{number}"
        for source, several in paths.items()
        for number, path in enumerate(sorted(several), start=1)
    }


def source_legend(sources: Iterable[Source], labels: Labels) -> list[Table]:
    """What stands behind the source names, one line per path; nothing where no path is known."""
    pairs = {(source, path) for source, path in sources if path}
    if not pairs:
        return []
    legend = Table(title="How the sources found them", title_justify="left", box=None, show_header=False)
    legend.add_column(no_wrap=True)
    legend.add_column(overflow="fold")
    for source, path in sorted(pairs):
        legend.add_row(labels[source, path], Text(path))
    return [legend]


def sources_of(found: Iterable[FeedItem | CandidateDebug]) -> list[Source]:
    """The source and its path of each item or candidate."""
    return [(each.source, each.source_path) for each in found]


def _cells(item: FeedItem, labels: Labels, tasks: int) -> list[str]:
    value = f"{item.value:.4f}" if item.HasField("value") else "-"
    head = [str(item.position + 1), str(item.media_id), str(item.author_id), labels[item.source, item.source_path]]
    seed = str(item.seed_account_id) if item.seed_account_id else "-"
    return [
        *head,
        seed,
        value,
        f"{item.diversity_factor:.2f}",
        *(f"{t.probability:.3f}" for t in item.task_probabilities[:tasks]),
    ]


def about(response: GetFeedResponse) -> str:
    """What served the request."""
    cold = ", cold start: nothing known about this user" if response.cold_start else ""
    likely = f" (propensity {response.arm_propensity:.4g}{', not to be counted' * response.arms_excluded})"
    chance = sum(0 < item.propensity < 1 for item in response.items)
    drawn = f", {chance} places left to chance" if chance else ""
    arm = f"{response.arm}{likely if response.arms else ''}"
    return f"bundle {response.bundle_version}, arm {arm}, request {response.request_id}{drawn}{cold}"


def degradation_lines(response: GetFeedResponse) -> list[Text]:
    """What did not work, one line each."""
    return [
        Text(
            f"degraded: {d.stage}: {DegradationReason.Name(d.reason).removeprefix('DEGRADATION_REASON_')}: {d.detail}",
            "yellow",
        )
        for d in response.degradations
    ]

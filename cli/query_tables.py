"""A query as people read it: its sources, what it finds for a user, and what each of its steps did.

Shapes: N candidates of one user.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from cli.feed_table import source_labels, source_legend
from cli.operator_table import shown
from features.item_table import ItemTable
from retrieval_svc.igql.execute import StepTrace
from retrieval_svc.igql.operators.naming import Bind
from retrieval_svc.igql.plan import Fallback, Mix, Plan, Step, Union
from retrieval_svc.sourced import Sourced

_NO_TOPIC = ""


@dataclass(frozen=True)
class Explained:
    """One run of a plan for one user: what its steps did, what came out, and how long it took."""

    plan: Plan
    traces: Mapping[int, StepTrace]
    sourced: Sourced
    total_ms: float


def source_table(plan: Plan) -> RenderableType:
    """The sources of a plan with the operators that their media pass."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("source", no_wrap=True)
    table.add_column("path", overflow="fold")
    for source in plan.sources:
        table.add_row(source.name, Text(source.path))
    return table


def candidate_facts(sourced: Sourced, items: ItemTable) -> list[dict[str, Any]]:
    """The candidates of one user in order, as plain JSON. `seed_account_id` 0: none; `topic` "": unknown."""
    columns = sourced.candidates
    row_N = items.rows(columns.media_id_N)
    return [
        {
            "position": place,
            "media_id": int(columns.media_id_N[place]),
            "author_id": int(columns.author_id_N[place]),
            "topic": items.topics[topic] if (topic := int(items.topic_M[row])) >= 0 else _NO_TOPIC,
            "source": columns.source(place),
            "source_path": columns.source_path(place),
            "seed_account_id": int(columns.seed_account_id_N[place]),
            "score": float(columns.score_N[place]),
        }
        for place, row in enumerate(row_N.tolist())
    ]


def candidate_table(facts: list[dict[str, Any]], user_id: str) -> RenderableType:
    """What a query finds, best first, and below it how each source found it."""
    table = Table(title=f"{len(facts)} candidates for user {user_id}", box=box.SIMPLE_HEAD)
    for name in ("#", "media", "author", "topic", "source", "seed account", "score"):
        table.add_column(name, justify="left" if name in ("topic", "source") else "right", no_wrap=True)
    sources = [(each["source"], each["source_path"]) for each in facts]
    labels = source_labels(sources)
    for each, source in zip(facts, sources, strict=True):
        ids = (str(each["position"] + 1), str(each["media_id"]), str(each["author_id"]))
        seed = str(each["seed_account_id"] or "-")
        table.add_row(*ids, Text(each["topic"] or "-"), labels[source], seed, f"{each['score']:.4f}")
    return Group(table, *source_legend(sources, labels))


def explain_facts(explained: Explained, user_id: str) -> dict[str, Any]:
    """A run as plain JSON: steps in the order in which rows flow. `trace` null: nobody read the step."""
    return {
        "user_id": user_id,
        "total_ms": explained.total_ms,
        "candidates": len(explained.sourced.candidates),
        "sources": _source_facts(explained.sourced),
        "steps": [_step_facts(step, explained) for step in explained.plan.steps()],
    }


def explain_tree(explained: Explained, user_id: str) -> RenderableType:
    """The plan from the result down to the user, one line per step; below it what became of each source's media."""
    found = len(explained.sourced.candidates)
    root = Tree(Text(f"{found} candidates for user {user_id} in {explained.total_ms:.1f} ms", "bold"))
    _Branches(explained).grow(root, explained.plan.root, "", within_mix=False)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("source", "found", "kept", "dropped"):
        table.add_column(name, justify="right" if name in ("found", "kept") else "left")
    sources = [(source.name, source.path) for source in explained.plan.sources]
    labels = source_labels(sources)
    for source, each in zip(sources, _source_facts(explained.sourced), strict=True):
        table.add_row(labels[source], str(each["found"]), str(each["kept"]), _counts(each["dropped"]))
    return Group(root, table, *source_legend(sources, labels))


class _Branches:
    """Grows the tree. A step that several others read is shown where it comes first, and by its number from then on."""

    def __init__(self, explained: Explained) -> None:
        self._explained = explained
        steps = explained.plan.steps()
        parents: dict[int, int] = {}
        for step in steps:
            for each in {each.number for each in step.inputs}:
                parents[each] = parents.get(each, 0) + 1
        self._shared = {number for number, count in parents.items() if count > 1}
        self._names: dict[int, int] = {}  # of shared steps that were shown

    def grow(self, tree: Tree, step: Step, share: str, within_mix: bool) -> None:
        """Adds a step and everything below it. `share`: its weight in the mix above."""
        line = Text(share)
        if step.number in self._names:
            line.append(f"{_operator_text(step)}: as in [{self._names[step.number]}]", "dim")
            tree.add(line)
            return
        if step.number in self._shared:
            self._names[step.number] = len(self._names) + 1
            line.append(f"[{self._names[step.number]}] ", "bold")
        line.append(_operator_text(step), "cyan")
        if step.starts_media:
            line.append(f"  (source {self._explained.plan.sources[step.source].name})", "magenta")
        line.append_text(self._did(step, within_mix))
        branch = tree.add(line)
        weights = step.operator.weights if isinstance(step.operator, Mix) else ()
        for place, each in enumerate(step.inputs):
            self.grow(branch, each, f"{weights[place]:g} × " if weights else "", bool(weights))

    def _did(self, step: Step, within_mix: bool) -> Text:
        trace = self._explained.traces.get(step.number)
        if trace is None:
            # A mix in a mix is dealt together with it: its inputs run, it does not.
            return Text("  dealt with the mix above" if within_mix and isinstance(step.operator, Mix) else "  not read")
        rows = f"{trace.rows_in:,} → {trace.rows_out:,}" if step.inputs else f"user → {trace.rows_out:,}"
        text = Text(f"  {rows}", "bold")
        if trace.dropped:
            text.append(f"  dropped {_counts(trace.dropped)}", "yellow")
        return text.append(f"  {trace.seconds * 1000:.2f} ms", "dim")


def _step_facts(step: Step, explained: Explained) -> dict[str, Any]:
    trace = explained.traces.get(step.number)
    return {
        "step": step.number,
        "operator": step.operator.name,
        "arguments": dict(_arguments(step)),
        "inputs": [each.number for each in step.inputs],
        "gives": step.stage.value,
        "source": explained.plan.sources[step.source].name if step.starts_media else None,
        "trace": None
        if trace is None
        else {
            "rows_in": trace.rows_in,
            "rows_out": trace.rows_out,
            "calls": trace.calls,
            "ms": trace.seconds * 1000,
            "dropped": trace.dropped,
        },
    }


def _source_facts(sourced: Sourced) -> list[dict[str, Any]]:
    """What became of each source's media for the one user. found = kept + everything in dropped."""
    reports = sourced.reports
    found_S, kept_S, dropped_SR = (
        array[0].tolist() for array in (reports.proposed_BS, reports.kept_BS, reports.dropped_BSR)
    )
    return [
        {
            "source": source.name,
            "path": source.path,
            "found": found_S[s],
            "kept": kept_S[s],
            "dropped": {reason: n for reason, n in zip(reports.reasons, dropped_SR[s], strict=True) if n},
        }
        for s, source in enumerate(reports.sources)
    ]


def _operator_text(step: Step) -> str:
    arguments = ", ".join(f"{name}={value}" if name else value for name, value in _arguments(step))
    return f"{step.operator.name}({arguments})" if arguments else step.operator.name


def _arguments(step: Step) -> list[tuple[str, str]]:
    """The arguments that are not their defaults."""
    operator = step.operator
    if isinstance(operator, Mix):
        return [] if operator.size is None else [("size", str(operator.size))]
    if isinstance(operator, Fallback):
        return [("at_least", str(operator.at_least))]
    if isinstance(operator, Union):
        return []
    if isinstance(operator, Bind):
        return [("", operator.as_)]
    return [
        (each.name, shown(getattr(operator, each.name), each.metadata.get("kind")))
        for each in dataclasses.fields(operator)  # type: ignore[arg-type]  # every operator is a dataclass
        if getattr(operator, each.name) != each.default
    ]


def _counts(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in sorted(dropped.items()))

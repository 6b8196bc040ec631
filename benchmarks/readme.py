"""Says in the README what the last full runs found: a sentence of each and which bounds it missed, and tables. Measures nothing.

`python -m benchmarks.readme [--check]`. With --check nothing is written; exit status 1 if the README says something else.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cascade_ways import CASCADE, closed, opened
from benchmarks.marked_text import part_of, write_part
from benchmarks.readme_tables import Figures, kuairand, worlds
from benchmarks.report import RESULTS

DOCUMENT = Path(__file__).parents[1] / "README.md"
MARK = "performance"
_WIDTH = 132


@dataclass(frozen=True)
class Recorded:
    """A result file."""

    command: str
    figures: Mapping[str, Any]
    checks: Sequence[Mapping[str, Any]]
    machine: str

    @classmethod
    def read(cls, file: Path) -> Recorded:
        """As benchmarks/report.py has written it."""
        found = json.loads(file.read_text("utf-8"))
        machine = found["machine"]
        where = f"{machine['cores']} cores of {machine['processor']}"
        return cls(found["command"], found["figures"], found["checks"], where)

    def check(self, name: str) -> float:
        """The value of the check whose name begins so. Raises ValueError if there is not exactly one."""
        found = [float(check["value"]) for check in self.checks if check["name"].startswith(name)]
        if len(found) != 1:
            raise ValueError(f"{len(found)} checks are named {name!r} ..., one was expected: record the result anew")
        return found[0]

    @property
    def missed(self) -> str:
        """The checks that failed, for people; empty if none did."""
        lines = [f"{each['name']} is {each['value']:.3g} ({each['bound']})" for each in self.checks if not each["ok"]]
        return f" Missed: {'; '.join(lines)}." if lines else ""


def paragraph(results: Path = RESULTS) -> str:
    """What the README should say of the results in this directory."""
    recorded = {name: Recorded.read(file) for name in SENTENCES if (file := results / f"{name}.json").exists()}
    lines = []
    for name, found in recorded.items():
        source = f"([{name}.json](benchmarks/results/{name}.json), `{found.command}`)"
        lines.append(_wrapped(f"- {SENTENCES[name](found)} {source}.{found.missed}", "  "))
    machines = sorted({found.machine for found in recorded.values()})
    if machines:
        lines += ["", _wrapped(f"Measured on {', and on '.join(machines)}, servers and clients together.")]
    missing = [name for name in SENTENCES if name not in recorded]
    if missing:
        lines += ["", _not_recorded(missing)]
    return "\n".join(lines).strip("\n")


def table(name: str, results: Path = RESULTS) -> str:
    """The table of a result in this directory, or that it is not recorded yet."""
    file = results / f"{name}.json"
    return TABLES[name](Recorded.read(file).figures) if file.exists() else _not_recorded([name])


def _not_recorded(names: Sequence[str]) -> str:
    return _wrapped(f"Not recorded yet: {', '.join(f'`python -m benchmarks.{name}`' for name in names)}.")


def _wrapped(text: str, indent: str = "") -> str:
    """Lines of the document; none ends within `code`."""
    whole = re.sub("`[^`]+`", lambda code: code[0].replace(" ", "\0"), text)
    lines = textwrap.fill(whole, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace("\0", " ")


def _cascade(found: Recorded) -> str:
    def ms(name: str, at: str) -> float:
        return statistics.median(each["ms"][at] for each in found.figures["samples"][name])

    cpu, floor = found.check("server CPU per page, cascade / our floor"), found.check("requests per CPU second")
    alone, loaded = ms(closed(CASCADE, 1), "p50"), ms(opened(CASCADE, 0.8), "p99")
    return (
        f"Five services spend {cpu:.2f} times the CPU of the same stages in one process without RPC, which serve {floor:.1f}"
        " times as many pages per CPU second as naive functions over the same models. The services make"
        f" {found.check('pages per second, cascade / monolith'):.0%} of the pages that one server process per core makes. A lone"
        f" caller has a page in {alone:.0f} ms (median); at 80 % of saturation the 99th percentile is {loaded:.0f} ms"
    )


def _scaling(found: Recorded) -> str:
    least, most = found.figures["media"][0], found.figures["media"][-1]
    growth = found.check(f"CPU per page, {most:,} media / {least:,} media")
    ready = found.check("start to ready of a ranking service")
    return (
        f"With {most:,} media a page costs {growth:.2f} times the CPU that it costs with {least:,}; a ranking service is ready"
        f" {ready:.1f} s after its start"
    )


def _load(found: Recorded) -> str:
    figures, run = found.figures, found.figures["run"]
    seen = run["verdict"]["figures"]
    said = (
        f"With locust on the same machine, a stack takes {figures['saturation']} requests a second before it misses its SLO."
        f" At {figures['rate']} a second for {_time(run['seconds'])}, {seen['failed']:,} of {seen['requests']:,} failed and"
        f" the 99th percentile of pages was {seen['page_p99_ms']:.0f} ms"
    )
    if "soak" in figures:
        grown = found.check("growth of memory")
        soak = figures["soak"]
        said += (
            f"; in {_time(soak['seconds'])} at {soak['rate']} a second no service grew by more than {max(grown, 0):.1%}"
        )
    return said


def _overload(found: Recorded) -> str:
    kept, p99 = found.check("goodput at 5 x capacity"), found.check("p99 ms of what was let in")
    normal_s = found.check("seconds until pages are normal again")
    return (
        f"Under five times the load that it can serve, a stack serves {kept:.0%} of what it serves at capacity, per core that the"
        f" client leaves, with a 99th percentile of {p99:.0f} ms, and is back to normal {normal_s:.1f} s after it"
    )


def _telemetry(found: Recorded) -> str:
    lost, cpu = found.figures["on"]["lost"], found.figures["on"]["more_cpu"]
    return (
        f"Metrics of all services, and traces of {found.figures['trace_share']:.0%} of the requests, change the CPU of a page by"
        f" {cpu['median']:+.1%} (median; turns from {cpu['min']:+.1%} to {cpu['max']:+.1%}) and the pages that are served by"
        f" {-lost['median']:+.1%} ({-lost['max']:+.1%} to {-lost['min']:+.1%})"
    )


def _rollout(found: Recorded) -> str:
    figures = found.figures
    return (
        f"While {figures['replicas']} replicas of each service were replaced one by one, {len(figures['restarts'])} replacements in"
        f" all, {figures['failed']:,} of {figures['pages']:,} pages failed and {figures['degraded']:,} lacked a stage. From nothing"
        f" to the first whole page it took {figures['first_page_s']:.1f} s"
    )


def _cluster(found: Recorded) -> str:
    figures = found.figures
    rolling, again = figures["rolling"], figures["again"]
    return (
        f"On a cluster of one node (Kubernetes {figures['server'].removeprefix('v')}) it takes {again['first_page_s']:.0f} s from"
        f" `kubectl apply` to the first whole page, training excluded; while every Deployment was restarted, {rolling['failed']:,}"
        f" of {rolling['pages']:,} pages failed and {rolling['degraded']:,} lacked a stage"
    )


SENTENCES: Mapping[str, Callable[[Recorded], str]] = {
    "cascade": _cascade,
    "scaling": _scaling,
    "load": _load,
    "overload": _overload,
    "telemetry": _telemetry,
    "rollout": _rollout,
    "cluster": _cluster,
}

# By the name of the benchmark, which is also that of the marks.
TABLES: Mapping[str, Callable[[Figures], str]] = {"quality": worlds, "kuairand": kuairand}


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


def main(arguments: Sequence[str] | None = None, document: Path = DOCUMENT, results: Path = RESULTS) -> int:
    """Writes the parts of the document, or checks them. Exit status 1 if it was asked to check, and one differs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.readme", description=__doc__)
    parser.add_argument("--check", action="store_true", help="writes nothing")
    should = {MARK: paragraph(results), **{name: table(name, results) for name in TABLES}}
    if not parser.parse_args(arguments).check:
        for mark, text in should.items():
            write_part(document, mark, text)
    elif any(part_of(document, mark) != text for mark, text in should.items()):
        print(f"{document.name} says something else than the results: run python -m benchmarks.readme", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

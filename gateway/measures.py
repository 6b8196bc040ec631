"""What the gateway measures of every page, and of its calls to the stages. Labels are stages, reasons, layers and arms: few."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gateway.feed import Page
from gateway.trace import Trace
from serving.channels import StageConnection
from serving.telemetry import Measure, Reading, Telemetry

STEP = Measure(
    "explore_page_step_duration_seconds",
    'Time of one step of a page as the gateway saw it, the network included; outcome "ok" or the reason of what it degraded.',
    "histogram",
    ("step", "outcome"),
)
CANDIDATES = Measure(
    "explore_page_candidates_total",
    "Candidates that went into a step and came out of it.",
    "counter",
    ("step", "direction"),
)
# From value models near 0 to logits: a quarter of a power of ten each, on both sides of 0.
_POSITIVE = tuple(round(10 ** (i / 4), 6) for i in range(-16, 9))
SCORES = Measure(
    "explore_stage_score",
    'Scores that a stage gave, by its own scale; "page": the values of the items on the page.',
    "histogram",
    ("stage",),
    bounds=(*(-bound for bound in reversed(_POSITIVE)), 0.0, *_POSITIVE),
)
UNSCORED = Measure(
    "explore_stage_unscored_total",
    "Candidates that a stage could not score, as far as they are missing from what it was to keep.",
    "counter",
    ("stage",),
)
DEGRADED = Measure(
    "explore_degradations_total", "Things that did not work and were made up for.", "counter", ("stage", "reason")
)
ARMS = Measure(
    "explore_experiment_pages_total",
    "Pages by the arm that they were made for, in every layer of the experiments.",
    "counter",
    ("layer", "arm"),
)
PAGES = Measure(
    "explore_pages_total",
    "Pages by kind: cold start, or personal; and whether anything was degraded.",
    "counter",
    ("kind", "degraded"),
)

CALLS = Measure("explore_stage_calls_total", "Calls to a stage, without retries and hedges.", "counter", ("stage",))
EXTRA = Measure(
    "explore_stage_extra_calls_total",
    "Second attempts: retries of calls that were lost, hedges beside slow ones.",
    "counter",
    ("stage", "kind"),
)
HEDGES_WON = Measure("explore_stage_hedges_won_total", "Hedges that answered first.", "counter", ("stage",))
SHARED = Measure("explore_stage_shared_calls_total", "Calls that carried several requests.", "counter", ("stage",))
SHARING = Measure("explore_stage_sharing_requests_total", "Requests that shared a call.", "counter", ("stage",))
HOPELESS = Measure(
    "explore_stage_given_up_requests_total",
    "Requests given up while they waited for a call, before any work.",
    "counter",
    ("stage",),
)
ENDPOINTS = Measure("explore_stage_endpoints", "Replicas of a stage that the gateway knows.", "gauge", ("stage",))
USABLE = Measure("explore_stage_usable_endpoints", "Replicas that a call could go to now.", "gauge", ("stage",))
BREAKERS = Measure("explore_stage_open_breakers", "Replicas left alone because calls failed.", "gauge", ("stage",))

_OF_SNAPSHOT: dict[str, tuple[Measure, tuple[str, ...]]] = {
    "calls": (CALLS, ()),
    "retries": (EXTRA, ("retry",)),
    "hedges": (EXTRA, ("hedge",)),
    "hedges_won": (HEDGES_WON, ()),
    "batches": (SHARED, ()),
    "batched": (SHARING, ()),
    "hopeless": (HOPELESS, ()),
    "endpoints": (ENDPOINTS, ()),
    "usable_endpoints": (USABLE, ()),
    "open_breakers": (BREAKERS, ()),
}


def record(page: Page, trace: Trace, telemetry: Telemetry) -> None:
    """Counts one page and all that happened on the way to it."""
    for run in trace.steps:
        telemetry.observe(STEP, run.elapsed_us / 1e6, run.stage, run.outcome)
    for run in trace.runs:
        telemetry.count(CANDIDATES, run.stage, "in", by=run.candidates_in)
        telemetry.count(CANDIDATES, run.stage, "out", by=run.candidates_out)
    for stage, score_N in trace.scores.items():
        telemetry.observe_all(SCORES, score_N, stage)
    for stage, count in trace.unscored.items():
        telemetry.count(UNSCORED, stage, by=count)
    value_K = np.array([item.value for item in page.items if item.value is not None], np.float64)
    telemetry.observe_all(SCORES, value_K, "page")
    for entry in trace.degradations:
        telemetry.count(DEGRADED, entry.stage, entry.reason.name.lower())
    for layer, arm in page.arms.arms.items():
        telemetry.count(ARMS, layer, arm)
    telemetry.count(PAGES, "cold_start" if page.cold_start else "personal", "yes" if trace.degradations else "no")


def connection_readings(connection: StageConnection) -> Iterator[Reading]:
    """The calls to one stage since the start, and its replicas as they are now."""
    found = connection.snapshot()
    for name, (measure, labels) in _OF_SNAPSHOT.items():
        value = found[name]
        if not isinstance(value, str):
            yield Reading(measure, value, (connection.stage, *labels))

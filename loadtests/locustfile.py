"""What locust runs: `locust -f loadtests/locustfile.py`, with its web page or --headless. See README.md.

An open model: every locust user stands for one arrival a second, at random moments (Poisson), and never waits for an answer. So the
number of users that locust shows is the rate of arrivals, and workers share it as they share users.
"""

from __future__ import annotations

import json
import logging
import random
import re
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import gevent
import grpc.experimental.gevent as grpc_gevent
from gevent.pool import Group
from locust import LoadTestShape, User, events, stats, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests.access import Access, AccessError, read_access
from loadtests.client import ExploreClient, wait_for_gateway
from loadtests.journeys import Audience
from loadtests.retries import PATIENCE_S
from loadtests.saturation import StepSearch
from loadtests.shapes import SHAPES, arrivals_per_s
from loadtests.slo import Bounds, Figures, Row, Verdict, judge
from loadtests.traffic import DEFAULT, Population, Traffic, TrafficError, read_traffic, read_users

grpc_gevent.init_gevent()  # before the first channel: gRPC's threads must let other greenlets run

HOST = "127.0.0.1:50050"
SATURATION = "saturation"
ARRIVALS_PER_USER = 1.0  # a second
SETTLING = 0.3  # of a step of the search: what is answered in it still belongs to the step before
CONNECTS_S = 1.0  # a gateway that is there accepts connections within that
LATE_S = 0.1  # a process that sends requests so much later than they were due has too much to do
_log = logging.getLogger(__name__)
# Locust rounds to two digits; three still are only some hundred different keys.
stats.bucket_response_time = lambda response_time: int(float(f"{response_time:.3g}"))


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    """Shown by --help and on the web page."""
    bounds, ours = Bounds(), parser.add_argument_group("Explore")
    shapes = [*SHAPES, SATURATION]
    ours.add_argument("--shape", choices=shapes, default="steady", help="how the rate goes; saturation: looks for it")
    ours.add_argument("--rate", type=int, default=20, help="requests a second; saturation: of the first step")
    ours.add_argument("--duration", type=float, default=60.0, help="seconds; saturation: at most")
    ours.add_argument("--step", type=float, default=10.0, help="seconds of a step of the saturation shape")
    ours.add_argument(
        "--deadline", type=float, default=PATIENCE_S, help="seconds for which a visitor waits for an answer"
    )
    # Files, for a gateway that asks for them. In the environment: LOCUST_CA and so on.
    ours.add_argument("--ca", env_var="LOCUST_CA", default="", help="PEM of whom to believe; calls go over TLS then")
    ours.add_argument("--key-file", env_var="LOCUST_KEY_FILE", default="", help="the API key to show; needs --ca")
    ours.add_argument("--certificate", env_var="LOCUST_CERTIFICATE", default="", help="PEM, to show; needs --ca")
    ours.add_argument("--certificate-key", env_var="LOCUST_CERTIFICATE_KEY", default="", help="PEM, its private key")
    ours.add_argument("--server-name", env_var="LOCUST_SERVER_NAME", default="", help="in the gateway's certificate")
    ours.add_argument("--traffic", default=str(DEFAULT), help="who arrives, and for what (YAML)")
    ours.add_argument("--users-file", default="", help="user ids, one a line, most active first")
    ours.add_argument("--seed", type=int, default=None, help="of everything that is drawn")
    ours.add_argument("--max-failed-share", type=float, default=bounds.failed_share, help="of all requests")
    ours.add_argument("--max-p99-ms", type=float, default=bounds.page_p99_ms, help="of pages, failed ones included")
    ours.add_argument("--max-degraded-share", type=float, default=bounds.degraded_share, help="of pages")
    ours.add_argument("--min-full-share", type=float, default=bounds.full_share, help="of pages")
    ours.add_argument("--verdict", default="", help="file to write the verdict to, as JSON")


class Visitors(User):
    """One arrival a second, whatever becomes of the ones before."""

    host = HOST
    client: ClassVar[ExploreClient]
    audience: ClassVar[Audience]
    latest_s: ClassVar[float] = 0.0  # how late a request of this run was sent, at most

    def on_start(self) -> None:
        """Waits for the first arrival."""
        self._calls, self._due = Group(), time.perf_counter()
        gevent.sleep(self.wait_time())

    def wait_time(self) -> float:
        """Seconds to the next arrival; 0 if it should have been by now. The schedule knows nothing of answers."""
        self._due += random.expovariate(ARRIVALS_PER_USER)
        return max(self._due - time.perf_counter(), 0.0)

    @task
    def arrive(self) -> None:
        """Sends the request and does not wait for its answer."""
        Visitors.latest_s = max(Visitors.latest_s, time.perf_counter() - self._due)
        self._calls.spawn(self.audience.arrive, self._due)

    def on_stop(self) -> None:
        """Waits for the calls that are out, so that the slow ones count too; their deadline ends it."""
        self._calls.join()


class Arrivals(LoadTestShape):
    """The shape that was asked for."""

    search: StepSearch | None = None
    found: Verdict | None = None  # of the best step of a search
    _measured: float | None = None  # since when the step of now is measured

    def tick(self) -> tuple[int, float] | None:
        """How many arrivals a second from now on; None: it is over."""
        options = _options(self._environment)
        if options.shape == SATURATION:
            rate = self._search(options)
        else:
            rate = arrivals_per_s(SHAPES[options.shape], options.rate, options.duration, self._now_s())
        return None if rate is None else (rate, float(max(rate, 100)))

    def reset_time(self) -> None:
        """Locust's hook: a run begins."""
        self.start_time, self.search, self.found = time.perf_counter(), None, None

    def _search(self, options: Any) -> int | None:
        now = time.perf_counter()
        if self.search is None:
            self.search, self._began, self._measured = StepSearch(options.rate), now, None
        if self._now_s() >= options.duration:
            return None
        if self._measured is None:
            if now - self._began >= SETTLING * options.step:
                self._before, self._measured = _rows(self._environment), now
            return self.search.rate
        if now - self._measured < (self.search.length - SETTLING) * options.step:
            return self.search.rate
        verdict, tried = self._verdict(options), self.search.rate
        _log.info("%d requests/s: %s", tried, f"MISSED {verdict.missed}" if verdict.missed else "held")
        if (verdict.ok and tried > self.search.held) or self.search.confirming or self.found is None:
            self.found = verdict
        goes_on = self.search.tried(verdict.ok)
        self._began, self._measured = now, None
        return self.search.rate if goes_on else None

    def _now_s(self) -> float:
        return time.perf_counter() - self.start_time

    @property
    def _environment(self) -> Environment:
        assert self.runner is not None  # locust sets it before it asks
        return self.runner.environment

    def _verdict(self, options: Any) -> Verdict:
        rows = _rows(self._environment)
        grown = [row.since(self._before[key]) if key in self._before else row for key, row in rows.items()]
        return judge(Figures.of(grown), _bounds(options))


@events.init.add_listener
def refuse_what_cannot_run(environment: Environment, **_: Any) -> None:
    """A run that makes no sense, or has nobody to ask, ends before it begins."""
    host, options = environment.host or HOST, _options(environment)
    for name in ("rate", "duration", "step", "deadline"):
        if not getattr(options, name) > 0:
            sys.exit(f"--{name} {getattr(options, name)}: must be more than 0")
    try:
        _population(options, random.Random())
        access = _access(options)
    except (TrafficError, AccessError) as error:
        sys.exit(str(error))
    if not re.fullmatch(r"[^/\s]+:\d+", host):
        sys.exit(f"--host {host}: must be HOST:PORT of a gateway, for example {HOST}")
    if not wait_for_gateway(host, CONNECTS_S, access):
        if options.ca:
            sys.exit(f"nothing at {host} answers with a certificate for that name that {options.ca} vouches for")
        sys.exit(f"nothing answers at {host}: start a stack with `make up`, or name another with --host HOST:PORT")


@events.test_start.add_listener
def open_the_doors(environment: Environment, **_: Any) -> None:
    """Makes the audience of this process, by what the web page may have changed."""
    options, rng = _options(environment), random.Random()
    if options.seed is not None:
        own = f"{options.seed}/{getattr(environment.runner, 'worker_index', 0)}"  # workers must not do the same
        rng.seed(own)
        random.seed(own)
    report = environment.events.request.fire
    client = ExploreClient(environment.host or HOST, report, options.deadline, _access(options))
    Visitors.client, Visitors.latest_s = client, 0.0
    Visitors.audience = Audience(*_population(options, rng), client, rng)


@events.test_stop.add_listener
def close_the_doors(**_: Any) -> None:
    """Ends the connection, once every call on it has ended."""
    Visitors.client.close()
    if Visitors.latest_s > LATE_S:
        late = "requests were sent up to %.0f ms late, which counts as latency: start more processes with --processes"
        _log.warning(late, Visitors.latest_s * 1e3)


@events.test_stop.add_listener
def show_the_verdict(environment: Environment, **_: Any) -> None:
    """After each run that was started on the web page. Of workers, the last three seconds may not be in it yet."""
    if not _options(environment).headless and not isinstance(environment.runner, WorkerRunner):
        pass_judgement(environment)


@events.quitting.add_listener
def end_with_the_verdict(environment: Environment, **_: Any) -> None:
    """At the end of all, when the workers have told everything."""
    if _options(environment).headless and not isinstance(environment.runner, WorkerRunner):
        pass_judgement(environment)


def pass_judgement(environment: Environment) -> None:
    """Prints the verdict and writes it; the exit status says it too."""
    options, shape = _options(environment), environment.shape_class
    assert isinstance(shape, Arrivals)
    found: dict[str, Any] = {}
    if shape.search is not None:
        verdict = shape.found or judge(Figures.of([]), _bounds(options))
        least = "" if shape.search.broke else " or more"
        unsure = "" if shape.search.confirmed else ", for one step and not at length"
        print(f"\nSATURATION: {shape.search.held} requests/s{least} hold the SLO{unsure}; then:", flush=True)
        found = {name: getattr(shape.search, name) for name in ("held", "broke", "confirmed")}
        found["saturation"] = found.pop("held")
    else:
        verdict = judge(Figures.of(_rows(environment).values()), _bounds(options))
    print(f"\n{verdict}\n", flush=True)
    if options.verdict:
        written = {**verdict.as_json(), "failures": _failures(environment), **found}
        Path(options.verdict).write_text(json.dumps(written, indent=2) + "\n", "utf-8")
    environment.process_exit_code = 0 if verdict.ok else 1


def _options(environment: Environment) -> Any:
    return environment.parsed_options


def _access(options: Any) -> Access:
    return read_access(options.ca, options.certificate, options.certificate_key, options.key_file, options.server_name)


def _population(options: Any, rng: random.Random) -> tuple[Traffic, Population]:
    traffic = read_traffic(Path(options.traffic))
    users = read_users(Path(options.users_file)) if options.users_file else None
    return traffic, Population(traffic.audience, rng, users)


def _bounds(options: Any) -> Bounds:
    return Bounds(options.max_failed_share, options.max_p99_ms, options.max_degraded_share, options.min_full_share)


def _rows(environment: Environment) -> dict[tuple[str, str], Row]:
    return {
        (entry.method, entry.name): Row(
            entry.method, entry.name, entry.num_requests, entry.num_failures, dict(entry.response_times)
        )
        for entry in environment.stats.entries.values()
    }


def _failures(environment: Environment) -> dict[str, int]:
    """How many requests of the whole run failed in each way, the most frequent first."""
    errors = sorted(environment.stats.errors.values(), key=lambda entry: -entry.occurrences)
    return {f"{entry.name}: {entry.error}": entry.occurrences for entry in errors}

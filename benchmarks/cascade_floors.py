"""The floors of benchmarks/cascade.py: one or two processes that do all of the cascade's arithmetic and no RPC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

from benchmarks.cascade_worker import Load
from benchmarks.cpu_time import cpu_seconds
from benchmarks.floor import Asked
from benchmarks.line_worker import LineWorker
from benchmarks.reference import Reference

_GRACE_S = 120.0  # a command that takes so much longer than it should has hung
Pages = list[list[tuple[int, float]]]


@dataclass(frozen=True)
class Sample:
    """One phase of one variant. CPU seconds of all server processes, Valkey's among them; the client's are counted apart."""

    requests: int
    wall_s: float
    cpu_s: float
    valkey_cpu_s: float
    ms: dict[str, float]  # p50, p99
    client_cpu_s: float = 0.0
    stage_ms: dict[str, float] | None = None
    lost: dict[str, int] | None = None  # calls without a whole page, by what became of them

    @property
    def cpu_ms(self) -> float:
        """Per request."""
        return self.cpu_s / max(self.requests, 1) * 1e3

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.wall_s


class Worker(LineWorker):
    """A process of benchmarks/cascade_worker.py."""

    def __init__(self, kind: str, reference: Reference, valkey_url: str) -> None:
        arguments = [kind, str(reference.bundle_root), str(reference.igql_file), valkey_url]
        super().__init__(f"the {kind} floor", "benchmarks.cascade_worker", arguments, _GRACE_S)

    def pages(self, asked: Sequence[Asked]) -> Pages:
        """Media ids and values; nothing is remembered of them."""
        self.tell({"do": "pages", "asked": [[each.user_id, each.time_ms, each.unseen] for each in asked]})
        return [[(media, value) for media, value in page] for page in self.answer()]


class Floors:
    """Workers of both kinds, as many as there are to be at once."""

    def __init__(self, workers: dict[str, list[Worker]], valkey_pid: int) -> None:
        self.workers, self._valkey_pid = workers, valkey_pid

    def load(self, kind: str, processes: int, load: Load) -> Sample:
        """The same load on each of `processes` workers at once, each with other users."""
        workers, valkey_s = self.workers[kind][:processes], cpu_seconds([self._valkey_pid])
        for number, worker in enumerate(workers):
            worker.tell({"do": "load", "load": {**asdict(load), "users": load.users[number::processes]}})
        found = [worker.answer(load.seconds) for worker in workers]
        valkey_s = cpu_seconds([self._valkey_pid]) - valkey_s
        return Sample(
            requests=sum(each["requests"] for each in found),
            wall_s=max(each["wall_s"] for each in found),
            cpu_s=sum(each["cpu_s"] for each in found) + valkey_s,
            valkey_cpu_s=valkey_s,
            ms={name: max(each["ms"][name] for each in found) for name in ("p50", "p99")},
            stage_ms=found[0]["stage_ms"],
        )


@contextmanager
def open_floors(reference: Reference, valkey_url: str, valkey_pid: int, counts: Mapping[str, int]) -> Iterator[Floors]:
    """So many workers of each kind, ready; ended with the block."""
    with ExitStack() as stack:
        workers: dict[str, list[Worker]] = {kind: [] for kind in counts}
        for kind, started in workers.items():
            for _ in range(counts[kind]):
                started.append(Worker(kind, reference, valkey_url))
                stack.callback(started[-1].close)
        for started in workers.values():
            for worker in started:
                worker.answer()
        yield Floors(workers, valkey_pid)

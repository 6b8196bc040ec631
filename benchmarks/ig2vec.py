"""Which skip-gram settings suit accounts, and are the vectors any good? A search, its validation on other seeds, and gensim.

`python -m benchmarks.ig2vec [DIR] [--quick] [--with-gensim]`, where DIR holds KuaiRand-Pure's own CSV files. gensim is no part of
this project: install it beside it for the comparison (`pip install gensim`).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import RenderableType

from benchmarks import ig2vec_search as search
from benchmarks import ig2vec_tables as shown
from benchmarks.gensim_skip_gram import gensim_models, train_gensim
from benchmarks.report import TABLES, Check, Result, at_least, at_most, command_line, finish
from cli.progress import steps
from training.datasets import Dataset, simulate
from training.datasets.kuairand import import_kuairand
from training.event_log import EventLog
from training.ig2vec import Ig2vecConfig, Sessions, sessions, train_vectors, window_pairs
from training.ig2vec_quality import (
    Ig2vecQuality,
    evaluate,
    last_steps,
    linear_probe,
    main_topics,
    neighbour_quality,
    next_accounts,
    next_hits,
)
from training.metrics import Interval, bootstrap_mean
from training.pipeline import plain
from training.snapshots import ItemTables, ItemVectors

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]

PROBE_RATIO = 3.0  # to the same probe on shuffled sessions
QUICK_GAIN = -0.05  # tiny worlds and a short search tell no more than that nothing broke
WORLD_SHARE, WORLD_LATER = 0.45, 0.40  # of the log: what trains, what the recall is judged on
# People of KuaiRand-Pure like one video per half hour: sessions of the default gap hold nothing to learn from.
KUAIRAND_GAP_MS = 24 * 60 * 60_000
_T_975 = {
    1: 12.706,
    2: 4.303,
    3: 3.182,
    4: 2.776,
    5: 2.571,
    6: 2.447,
    7: 2.365,
    8: 2.306,
    9: 2.262,
}  # Student's, by n - 1


@dataclass(frozen=True)
class Case:
    """One log cut in two: what trains, and the sessions after it."""

    name: str
    tokens: Sessions
    later: Sessions
    topic_U: Int64


@dataclass(frozen=True)
class Validated:
    """The two settings on one case that the search has not seen."""

    case: str
    text: dict[str, Any]
    searched: dict[str, Any]
    gain_R: Float64  # hits of the searched setting minus those of the text's, per held-out row


def main() -> int:
    """Searches, validates, compares; prints the tables and writes the result; exit status 1 if a check fails."""
    arguments = _arguments()
    if arguments.with_gensim:
        gensim_models()  # says before the work that it is missing
    torch.set_num_threads(1)  # times of one thread, as gensim's with one worker
    world = simulate.tiny() if arguments.quick else simulate.default()
    with tempfile.TemporaryDirectory(prefix="explore-ig2vec-") as scratch, steps() as progress:
        home, others = Path(scratch), range(2, 2 + arguments.seeds)
        with progress.step("data sets") as report:
            cases = [_world(world, 1, home)]
            recorded = _recorded(arguments.directory, home)
            validation: dict[str, list[Case]] = {"simulated": [], "KuaiRand": recorded[1:] * arguments.seeds}
            for done, seed in enumerate(others, 1):
                validation["simulated"].append(_world(world, seed, home))
                report(done, arguments.seeds)
        with progress.step("search") as report:
            train = 10 if arguments.quick else search.RANDOM_TRIALS
            trials = search.run([*cases, *recorded[:1]], train, not arguments.quick, _judge, report)
        best = search.best(trials)
        found: dict[str, list[Validated]] = {}
        for name in (name for name, several in validation.items() if several):
            with progress.step(f"validation: {name}") as report:
                found[name] = list(_validated(validation[name], best, report))
        compared = _compared(validation["simulated"][:3], best, progress) if arguments.with_gensim else []
    crossing = sum(_crossing(case) for several in [cases, *validation.values()] for case in several)
    return _finish(arguments, trials, best, found, compared, crossing)


def _finish(
    arguments: argparse.Namespace,
    trials: Sequence[search.Trial],
    best: search.Setting,
    found: dict[str, list[Validated]],
    compared: list[dict[str, Any]],
    crossing: int,
) -> int:
    gains = {name: _gain(name, several) for name, several in found.items()}
    worlds = found["simulated"]
    least = QUICK_GAIN if arguments.quick else 0.0
    lead = _over_seeds(
        [one.searched["probe"]["macro_f1"] - PROBE_RATIO * one.searched["probe_shuffled_macro_f1"] for one in worlds]
    )
    checks: list[Check] = [
        at_least(f"probe macro-F1 - {PROBE_RATIO:g} x shuffled, simulated, lower bound", lead.low, 0),
        *(at_least(f"recall@50 - text defaults, {name}, lower bound", gain.low, least) for name, gain in gains.items()),
        at_most("pairs that cross a session", crossing, 0),
    ]
    validated = {
        name: [{"case": v.case, "text": v.text, "searched": v.searched} for v in found[name]] for name in found
    }
    figures = {
        "searched": asdict(best),
        "text_defaults": asdict(search.TEXT),
        "recipe_defaults": asdict(search.setting_of(Ig2vecConfig())),
        "trials": [asdict(trial) for trial in trials],
        "validation": validated,
        "recall_gain": {name: asdict(gain) for name, gain in gains.items()},
        "probe_lead": asdict(lead),
        "gensim": compared,
    }
    tables: list[RenderableType] = [
        shown.trials_table(trials),
        shown.choice(trials),
        *(shown.validation_table(name, several, gains[name]) for name, several in validated.items()),
        *([shown.gensim_table(compared)] if compared else []),
    ]
    name = "ig2vec_quick" if arguments.quick else "ig2vec"
    result = Result(name, command_line("benchmarks.ig2vec"), plain(figures), checks, tables)
    return finish(result, tables=None if arguments.quick else TABLES)


def _world(config: simulate.SimulationConfig, seed: int, home: Path) -> Case:
    dataset = simulate.simulate(replace(config, seed=seed), home / f"world-{seed}")
    end = WORLD_SHARE + WORLD_LATER
    return _case(f"world {seed}", dataset, WORLD_SHARE, end, Ig2vecConfig().session_gap_ms)


def _recorded(directory: Path | None, home: Path) -> list[Case]:
    """KuaiRand for the search, and with later rows for the validation; nothing without a directory."""
    if directory is None:
        return []
    dataset = import_kuairand(directory, home / "kuairand")
    cuts = ((0.5, 0.75), (0.75, 1.0))
    return [_case("KuaiRand", dataset, share, until, KUAIRAND_GAP_MS) for share, until in cuts]


def _case(name: str, dataset: Dataset, share: float, until: float, gap_ms: int) -> Case:
    log = EventLog.from_dataset(dataset)
    start_ms = int(log.time_ms_E[0])
    end_ms, until_ms = (start_ms + int((dataset.as_of_ms - start_ms) * part) for part in (share, until))
    items = ItemTables(log, dataset.media, ItemVectors.zeros(log)).as_of(end_ms)
    later = sessions(log, until_ms, gap_ms, start_ms=end_ms)
    return Case(name, sessions(log, end_ms, gap_ms), later, main_topics(items))


def _judge(case: Case, setting: search.Setting, seed: int = 1) -> search.Trial:
    started = time.monotonic()
    vector_UE = train_vectors(case.tokens, len(case.topic_U), setting.config(seed))
    seconds = time.monotonic() - started
    count_U = np.bincount(case.tokens.account_A, minlength=len(case.topic_U))
    ahead, near = next_accounts(vector_UE, count_U, case.later), neighbour_quality(vector_UE, case.topic_U)
    error = float(np.sqrt(ahead.recall * (1 - ahead.recall) / max(ahead.rows, 1)))
    return search.Trial(case.name, setting, ahead.recall, error, near.purity, near.hubness, seconds)


def _validated(cases: Sequence[Case], best: search.Setting, report: Any) -> Iterator[Validated]:
    """Both settings on every case, each with a training seed of its own."""
    for seed, case in enumerate(cases, 2):
        rows = last_steps(case.later)
        hits, qualities = [], []
        for setting in (search.TEXT, best):
            config = setting.config(seed)
            vector_UE = train_vectors(case.tokens, len(case.topic_U), config)
            hits.append(next_hits(vector_UE, *rows).astype(np.float64))
            quality: Ig2vecQuality = evaluate(
                vector_UE, case.topic_U, tokens=case.tokens, later=case.later, config=config
            )
            qualities.append(asdict(quality))
        yield Validated(case.name, qualities[0], qualities[1], hits[1] - hits[0])
        report(seed - 1, len(cases))


def _compared(cases: Sequence[Case], best: search.Setting, progress: Any) -> list[dict[str, Any]]:
    """Ours and gensim's at equal settings: one row for each world, setting and implementation."""
    rows = []
    with progress.step("gensim") as report:
        for seed, case in enumerate(cases, 2):
            count_U = np.bincount(case.tokens.account_A, minlength=len(case.topic_U))
            for label, setting in (("text", search.TEXT), ("searched", best)):
                for name, trainer in (("ours", train_vectors), ("gensim", train_gensim)):
                    started = time.monotonic()
                    vector_UE = trainer(case.tokens, len(case.topic_U), setting.config(seed))
                    seconds = time.monotonic() - started
                    near = neighbour_quality(vector_UE, case.topic_U)
                    row = {"case": case.name, "setting": label, "implementation": name, "seconds": seconds}
                    row |= asdict(next_accounts(vector_UE, count_U, case.later)) | asdict(near)
                    rows.append(row | {"probe_macro_f1": linear_probe(vector_UE, case.topic_U).macro_f1})
            report(seed - 1, len(cases))
    return rows


def _gain(name: str, several: Sequence[Validated]) -> Interval:
    """Of the recall: worlds differ, so over worlds; KuaiRand is one log, so over its rows, each the mean of the seeds."""
    if name == "simulated":
        return _over_seeds([float(one.gain_R.mean()) for one in several])
    gain_R = np.mean([one.gain_R for one in several], axis=0)
    return bootstrap_mean(gain_R, np.arange(len(gain_R)))


def _over_seeds(values: Sequence[float]) -> Interval:
    """Student's 95 % interval of the mean."""
    mean, n = float(np.mean(values)), len(values)
    reach = _T_975[n - 1] * float(np.std(values, ddof=1)) / n**0.5
    return Interval(mean, mean - reach, mean + reach)


def _crossing(case: Case) -> int:
    """Pairs of the widest window whose tokens lie in two sessions: with places instead of accounts, every pair tells its own."""
    places = Sessions(np.arange(len(case.tokens)), case.tokens.session_A)
    centre_P, context_P = window_pairs(places, max(search.WINDOWS), np.random.default_rng(0))
    return int((case.tokens.session_A[centre_P] != case.tokens.session_A[context_P]).sum())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ig2vec", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", help="folder of KuaiRand-Pure's CSV files")
    parser.add_argument("--quick", action="store_true", help="tiny worlds and a short search, within 60 seconds")
    parser.add_argument("--seeds", type=int, default=5, choices=range(2, 11), help="worlds of the validation")
    parser.add_argument("--with-gensim", action="store_true", help="compare with gensim, which must be installed")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

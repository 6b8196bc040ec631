"""The tables of benchmarks/ig2vec.py. Knows figures; computes none beyond means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.ig2vec_search import TEXT, Setting, Trial, ranked, setting_of
from training.ig2vec import Ig2vecConfig
from training.metrics import Interval

_SHOWN = 10
_MEASURES = (
    ("probe macro-F1", ("probe", "macro_f1")),
    ("  shuffled sessions", ("probe_shuffled_macro_f1",)),
    ("  most frequent topic", ("probe", "majority")),
    ("topic purity@10", ("neighbours", "purity")),
    ("  chance", ("neighbours", "chance")),
    ("largest hub's share", ("neighbours", "hubness")),
    ("skewness of in-degrees", ("neighbours", "hub_skewness")),
    ("next account, recall@50", ("next_at_50", "recall")),
    ("  most frequent accounts", ("next_at_50", "popularity")),
    ("  where those miss", ("next_at_50", "beyond_popular")),
)


def trials_table(trials: Sequence[Trial]) -> Table:
    """The best settings, the text's and the recipe's, with their figures on every data set."""
    order = [setting for setting, _, _ in ranked(trials)]
    cases = list(dict.fromkeys(trial.case for trial in trials))
    found = {(trial.case, trial.setting): trial for trial in trials}
    table = Table(title=f"Search: {len(order)} settings, by mean rank of recall@50", box=box.SIMPLE_HEAD)
    for column in ("place", "window", "exponent", "sub-\nsample", "epochs"):
        table.add_column(column, justify="right")
    for case in cases:
        table.add_column(f"{case}\nrecall@50", justify="right")
        table.add_column("purity\n@10", justify="right")
    table.add_column("s", justify="right")
    table.add_column("")
    recipe = setting_of(Ig2vecConfig())
    for place, setting in enumerate(order, 1):
        if place <= _SHOWN or setting in (TEXT, recipe):
            own = [found[case, setting] for case in cases]
            figures = [figure for trial in own for figure in (f"{trial.recall:.4f}", f"{trial.purity:.3f}")]
            seconds = f"{sum(trial.seconds for trial in own):.1f}"
            table.add_row(str(place), *_knobs(setting), *figures, seconds, _label(setting, recipe))
    return table


def choice(trials: Sequence[Trial]) -> Text:
    """What every data set would choose alone, and what was chosen for all of them."""
    own = []
    for case in dict.fromkeys(trial.case for trial in trials):
        top = max((trial for trial in trials if trial.case == case), key=lambda trial: trial.recall)
        own.append(f"{case}: {_words(top.setting)} ({top.recall:.4f})")
    lines = (
        "The highest recall@50 on each data set alone:",
        *own,
        f"Chosen, by the mean rank over the data sets: {_words(ranked(trials)[0][0])}.",
        "",
        "Settings within two standard errors of a data set's best share its first rank, and purity decides between equals. "
        "Recall rewards neighbours that are frequent as well as alike: where it rises, topic purity may fall; the last line "
        "of each validation leaves the frequent accounts out. KuaiRand's sessions end after a day's pause instead of half an "
        "hour (people there like one video per half hour), and its validation has later rows than its search. Its probe is "
        "shown and not checked: authors there have little more than a video each.",
    )
    return Text("\n".join(lines) + "\n")


def validation_table(name: str, several: Sequence[dict[str, Any]], gain: Interval) -> Table:
    """Means over the seeds, with their range."""
    bounds = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
    title = f"{name}, {len(several)} other seeds (mean, min to max); gain in recall@50 {bounds}"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("measure", "text defaults", "searched"):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for label, path in _MEASURES:
        table.add_row(label, *(_spread([_at(one[side], path) for one in several]) for side in ("text", "searched")))
        if label == "  shuffled sessions":
            sides = ([one[side] for one in several] for side in ("text", "searched"))
            ratios = (
                [found["probe"]["macro_f1"] / found["probe_shuffled_macro_f1"] for found in side] for side in sides
            )
            table.add_row("  probe / shuffled", *(_spread(ratio, 1) for ratio in ratios))
    return table


def gensim_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Both implementations at equal settings."""
    worlds = len({row["case"] for row in rows})
    table = Table(title=f"Ours and gensim, one thread each, {worlds} worlds (mean, min to max)", box=box.SIMPLE_HEAD)
    for column in ("setting", "", "seconds", "recall@50", "purity@10", "probe macro-F1", "hub"):
        table.add_column(column, justify="left" if column in ("setting", "") else "right")
    for setting, implementation in dict.fromkeys((row["setting"], row["implementation"]) for row in rows):
        own = [row for row in rows if (row["setting"], row["implementation"]) == (setting, implementation)]
        figures = [_spread([row[key] for row in own], 3) for key in ("recall", "purity", "probe_macro_f1")]
        seconds, hub = (float(np.mean([row[key] for row in own])) for key in ("seconds", "hubness"))
        table.add_row(setting, implementation, f"{seconds:.1f}", *figures, f"{hub:.3f}")
    return table


def _knobs(setting: Setting) -> tuple[str, str, str, str]:
    return str(setting.window), f"{setting.noise_exponent:g}", f"{setting.subsample:g}", str(setting.epochs)


def _words(setting: Setting) -> str:
    window, exponent, subsample, epochs = _knobs(setting)
    return f"window {window}, exponent {exponent}, subsample {subsample}, {epochs} epochs"


def _label(setting: Setting, recipe: Setting) -> str:
    names = (("text", TEXT), ("recipe", recipe))
    return ", ".join(name for name, known in names if setting == known)


def _at(quality: Any, path: tuple[str, ...]) -> float:
    for key in path:
        quality = quality[key]
    return float(quality)


def _spread(values: Sequence[float], digits: int = 4) -> str:
    return f"{np.mean(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"

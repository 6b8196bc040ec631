"""The search over skip-gram settings: random trials, then every knob of the best one in turn. Knows no data set.

A setting is judged by its recall of held-out next accounts on every data set; of those that recall cannot tell apart, by purity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeVar

import numpy as np

from training.ig2vec import Ig2vecConfig

C = TypeVar("C")

WINDOWS = (2, 5, 10)
EXPONENTS = (-0.5, 0.0, 0.5, 0.75, 1.0)
SUBSAMPLES = (0.0, 1e-3, 1e-4, 1e-5)
EPOCHS = (3, 5, 10)
RANDOM_TRIALS = 26
_TIED = 2.0  # standard errors from the best recall


@dataclass(frozen=True)
class Setting:
    """The four knobs that are searched."""

    window: int
    noise_exponent: float
    subsample: float
    epochs: int

    def config(self, seed: int) -> Ig2vecConfig:
        """Everything else as in the recipe."""
        return Ig2vecConfig(
            window=self.window,
            noise_exponent=self.noise_exponent,
            subsample=self.subsample,
            epochs=self.epochs,
            seed=seed,
        )


TEXT = Setting(window=5, noise_exponent=0.75, subsample=1e-3, epochs=5)  # word2vec's and gensim's defaults


@dataclass(frozen=True)
class Trial:
    """One training on one data set."""

    case: str
    setting: Setting
    recall: float
    recall_error: float
    purity: float
    hubness: float
    seconds: float


def setting_of(config: Ig2vecConfig) -> Setting:
    """The four knobs of a config."""
    return Setting(config.window, config.noise_exponent, config.subsample, config.epochs)


def run(
    cases: Sequence[C],
    trials: int,
    refine: bool,
    judge: Callable[[C, Setting], Trial],
    report: Callable[[int, int], None],
) -> list[Trial]:
    """Trials of the text's setting and of `trials` - 1 random ones, then of the best one's neighbours, on every case."""
    made: list[Trial] = []

    def attempt(settings: Sequence[Setting]) -> None:
        for place, setting in enumerate(settings, 1):
            made.extend(judge(case, setting) for case in cases)
            report(place, len(settings))

    grid = [Setting(*knobs) for knobs in product(WINDOWS, EXPONENTS, SUBSAMPLES, EPOCHS)]
    grid.remove(TEXT)
    chosen = np.random.default_rng(0).choice(len(grid), trials - 1, replace=False)
    attempt([TEXT, *(grid[place] for place in chosen)])
    if refine:
        tried = {trial.setting for trial in made}
        attempt([setting for setting in neighbours(best(made)) if setting not in tried])
    return made


def neighbours(setting: Setting) -> Iterable[Setting]:
    """The settings that differ in one knob."""
    yield from (replace(setting, window=value) for value in WINDOWS if value != setting.window)
    yield from (replace(setting, noise_exponent=value) for value in EXPONENTS if value != setting.noise_exponent)
    yield from (replace(setting, subsample=value) for value in SUBSAMPLES if value != setting.subsample)
    yield from (replace(setting, epochs=value) for value in EPOCHS if value != setting.epochs)


def best(trials: Sequence[Trial]) -> Setting:
    """The best mean rank in recall over the data sets; of equals, the highest mean purity."""
    order = ranked(trials)
    return order[0][0]


def ranked(trials: Sequence[Trial]) -> list[tuple[Setting, float, float]]:
    """Every setting with its mean rank and mean purity, best first.

    Settings within two standard errors of a data set's best recall share its first rank.
    """
    ranks: dict[Setting, list[float]] = {}
    purities: dict[Setting, list[float]] = {}
    for case in dict.fromkeys(trial.case for trial in trials):
        own = [trial for trial in trials if trial.case == case]
        top = max(own, key=lambda trial: trial.recall)
        for trial in own:
            tied = trial.recall >= top.recall - _TIED * top.recall_error
            better = sum(other.recall > trial.recall for other in own)
            ranks.setdefault(trial.setting, []).append(0 if tied else better)
            purities.setdefault(trial.setting, []).append(trial.purity)
    found = [(setting, float(np.mean(ranks[setting])), float(np.mean(purities[setting]))) for setting in ranks]
    return sorted(found, key=lambda row: (row[1], -row[2]))

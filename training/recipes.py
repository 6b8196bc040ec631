"""Training runs as functions that return a full typed config; a variant derives from another. To add one: a function and a line.

A recipe is data only: `training/pipeline.py` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from features.counters import DAY_MS, HOUR_MS
from training.distillation import ListLoss, StudentConfig
from training.fit import FitConfig
from training.ig2vec import Ig2vecConfig
from training.models.id_embeddings import EmbeddingConfig
from training.rankers import RankConfig, RerankConfig
from training.sourcing import SourcingConfig
from training.two_tower import TwoTowerConfig

# Each weighted probability contributes about equally on an average impression of the synthetic world (the starting rule that
# Twitter published); negative actions weigh against everything else together.
VALUE_WEIGHTS = {
    "click": 1.0,
    "long_view": 1.0,
    "like": 4.0,
    "save": 8.0,
    "share": 8.0,
    "comment": 6.0,
    "follow": 8.0,
    "negative": -20.0,
}


@dataclass(frozen=True)
class Windows:
    """How the log is cut by time: embeddings | rankers train | early stopping | test. The last three follow each other to the end.

    Embeddings feed ranking features, so they end where the rankers' examples begin: a vector that has seen a click predicts it
    too well.
    """

    embedding_share: float = 0.45  # of the whole log
    valid_ms: int = 12 * HOUR_MS
    test_ms: int = DAY_MS


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run does."""

    name: str
    windows: Windows = field(default_factory=Windows)
    max_impressions: int = 1_500_000  # ranker examples, the most recent ones
    ig2vec: Ig2vecConfig = field(default_factory=Ig2vecConfig)
    two_tower: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    sourcing: SourcingConfig = field(default_factory=SourcingConfig)
    rerank: RerankConfig = field(default_factory=RerankConfig)
    rank: RankConfig = field(default_factory=RankConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    n_slates: int = 1_000  # users whose candidates the prerank student learns from; a fifth of them measure the funnel
    slate_size: int = 500
    value_weights: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: {"default": VALUE_WEIGHTS})

    def seeded(self, seed: int) -> Recipe:
        """The same run with other random numbers everywhere."""
        return replace(
            self,
            ig2vec=replace(self.ig2vec, seed=seed),
            two_tower=replace(self.two_tower, seed=seed),
            rerank=replace(self.rerank, fit=replace(self.rerank.fit, seed=seed)),
            rank=replace(self.rank, fit=replace(self.rank.fit, seed=seed)),
            student=replace(self.student, fit=replace(self.student.fit, seed=seed)),
        )

    def comparing_losses(self) -> Recipe:
        """The same run with a student for every loss, of which the best is kept."""
        return replace(self, student=replace(self.student, compare_losses=tuple(ListLoss)))


def default() -> Recipe:
    """The one for logs of a few million events on a few cores."""
    return Recipe(name="default")


def small() -> Recipe:
    """For logs of less than about half a million impressions, where one epoch in large batches is too few steps, and a network
    varies so much by chance that a logistic regression beside it pays."""
    base = default()
    architecture = replace(base.rerank.architecture, regression=True)
    fit = replace(base.rerank.fit, batch_rows=512)
    return replace(base, name="small", rerank=replace(base.rerank, fit=fit, architecture=architecture))


def tiny() -> Recipe:
    """For tests and `--quick` benchmarks: a small log, seconds instead of minutes."""
    base, short = default(), FitConfig(epochs=2, batch_rows=2048)
    return replace(
        base,
        name="tiny",
        ig2vec=replace(base.ig2vec, dim=32, epochs=3),
        two_tower=replace(base.two_tower, dim=16),
        rerank=RerankConfig(short, EmbeddingConfig(media_width=8, account_width=8), min_positives=30),
        rank=RankConfig(short, min_positives=30),
        n_slates=150,
    )


RECIPES: Mapping[str, Callable[[], Recipe]] = {"default": default, "small": small, "tiny": tiny}

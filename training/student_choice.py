"""Which loss should the student learn from? One student per loss on the same slates, judged on slates that taught none of them.

Knows the funnel's measures; knows neither what the losses are nor what the rankers compute.

Shapes: N candidates of all slates, B slates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.checkpoints import Keeper
from training.distillation import ListLoss, StudentConfig, TrainedStudent, train_student
from training.errors import FitError
from training.funnel import FunnelReport, measure_funnel
from training.progress import Steps
from training.slates import Slates

Float32 = NDArray[np.float32]

_CHOOSING_EVERY = (
    8  # every eighth slate chooses: enough to tell a hundredth of recall, few enough to leave the rest to teach
)


@dataclass(frozen=True)
class Candidate:
    """One student and what the funnel keeps with it. `seconds` is CPU time, of what was left to train when a run was resumed."""

    student: TrainedStudent
    kept: FunnelReport
    seconds: float


@dataclass(frozen=True)
class Choice:
    """The candidates by loss, and the best of them."""

    chosen: ListLoss
    candidates: Mapping[ListLoss, Candidate]

    @property
    def student(self) -> TrainedStudent:
        """The one to serve."""
        return self.candidates[self.chosen].student

    def metrics(self) -> dict[str, Any]:
        """The table for a manifest: intervals over the users of the choosing slates."""
        measures = ("recall_page", "recall_rank", "ndcg", "funnel_value")
        table = {
            loss.value: {
                **{measure: asdict(getattr(found.kept, measure)) for measure in measures},
                "seconds": found.seconds,
            }
            for loss, found in self.candidates.items()
        }
        return {"chosen": self.chosen.value, "table": table}


def not_compared(loss: ListLoss) -> dict[str, Any]:
    """What a manifest says where the recipe has fixed the loss."""
    return {"chosen": loss.value, "table": {}}


def choose_student(
    config: StudentConfig,
    slates: Slates,
    teacher_N: Float32,
    rank: Callable[[Slates], Float32],
    steps: Steps,
    keep: Keeper,
) -> Choice:
    """A student for each of `config.compare_losses`, and the best of them. `rank` gives the values of the stage after prerank.

    Every eighth slate chooses, and neither teaches nor stops training: no loss is chosen for having stopped at a lucky moment.
    Each candidate has a checkpoint of its own. Raises FitError as `train_student` does, and for too few slates.
    """
    choosing_B = np.arange(len(slates)) % _CHOOSING_EVERY == _CHOOSING_EVERY - 1
    if not choosing_B.any():
        raise FitError(f"{len(slates)} slates are too few to compare losses; fix one loss, or retrieve for more users")
    choosing_N = choosing_B[slates.request_N]
    judged, taught = slates.select(choosing_B), slates.select(~choosing_B)
    rank_N = rank(judged)
    candidates: dict[ListLoss, Candidate] = {}
    for loss in config.compare_losses:
        with steps.step(f"student (prerank), {loss.value}") as report:
            started = time.process_time()
            of_loss, kept = replace(config, loss=loss), keep.checkpoint(f"student {loss.value}")
            student = train_student(of_loss, taught, teacher_N[~choosing_N], report, kept)
            seconds = time.process_time() - started
        found = measure_funnel(judged, student.scores(judged), rank_N, teacher_N[choosing_N], config.sizes)
        candidates[loss] = Candidate(student, found, seconds)
    return Choice(best({loss: candidate.kept for loss, candidate in candidates.items()}), candidates)


def best(kept: Mapping[ListLoss, FunnelReport]) -> ListLoss:
    """The loss with the highest recall of the page; of those within the same thousandth, the highest funnel value; then the first.

    Recall comes first because the funnel's value forgives: later stages fill the page with the next best. A thousandth is less than
    the seeds of one loss differ by.
    """

    def worth(loss: ListLoss) -> tuple[float, float]:
        found = kept[loss]
        return _known(round(found.recall_page.mean, 3)), _known(found.funnel_value.mean)

    return max(kept, key=worth)


def _known(figure: float) -> float:
    return figure if np.isfinite(figure) else -np.inf

"""A ranking service as a process of its own, run by test_process.py: each call waits until somebody writes to a FIFO."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.context import UserContexts
from serving.bundle_follower import BundleFollower, Source
from serving.columns import CandidateColumns
from serving.config import ServiceConfig
from serving.holder import Holder
from serving.process import main
from serving.ranking import ranking_service
from serving.scorer import Scored, Scorer
from serving.server import Service
from serving.telemetry import Telemetry


class SlowConfig(ServiceConfig):
    """The FIFO is a setting."""

    fifo: Path


class FifoScorer:
    tasks: tuple[str, ...] = ()

    def __init__(self, fifo: Path) -> None:
        self._fifo = fifo

    def score(self, contexts: UserContexts, candidates: CandidateColumns, weight_BT: object) -> Scored:
        factor = float(self._fifo.read_text())
        return Scored(candidates.score_N * np.float32(factor), None, features_us=0, model_us=0)


def build(config: SlowConfig, telemetry: Telemetry) -> Service:
    scorers = Holder[Scorer]()

    def make(bundle: Bundle) -> Scorer:
        return FifoScorer(config.fifo)

    follower = BundleFollower(Source(BundleStore(config.bundle_root), "f00d"), make, scorers, config.bundle_poll_s)
    return ranking_service("slow", scorers, follower.load, telemetry)


if __name__ == "__main__":
    sys.exit(main(SlowConfig, build))

"""The prerank service as a process: `python -m prerank_svc`."""

from __future__ import annotations

import sys

from bundles.bundle import Bundle
from bundles.store import BundleStore
from features.dense import FINGERPRINT
from prerank_svc.config import PrerankConfig
from prerank_svc.scorer import PrerankScorer
from serving.holder import Holder, load_current
from serving.process import main
from serving.ranking import ranking_service
from serving.scorer import Scorer
from serving.server import Service
from serving.telemetry import Telemetry


def build(config: PrerankConfig, telemetry: Telemetry) -> Service:
    """The composition root."""
    store, scorers = BundleStore(config.bundle_root), Holder[Scorer]()

    def make(bundle: Bundle) -> Scorer:
        return PrerankScorer.open(bundle, config.onnx_threads)

    async def load() -> None:
        await load_current(store, FINGERPRINT, make, scorers)

    return ranking_service("prerank", scorers, load, telemetry)


if __name__ == "__main__":
    sys.exit(main(PrerankConfig, build))

"""The rerank service as a process: `python -m rerank_svc`."""

from __future__ import annotations

import sys

from features.schema import Stage
from rerank_svc.config import RerankConfig
from rerank_svc.scorer import RerankScorer
from serving.process import main
from serving.ranking import build_with

build = build_with(Stage.RERANK, RerankScorer.open)

if __name__ == "__main__":
    sys.exit(main(RerankConfig, build))

"""The rank service as a process: `python -m rank_svc`."""

from __future__ import annotations

import sys

from features.schema import Stage
from rank_svc.config import RankConfig
from rank_svc.scorer import RankScorer
from serving.process import main
from serving.ranking import build_with

build = build_with(Stage.RANK, RankScorer.open)

if __name__ == "__main__":
    sys.exit(main(RankConfig, build))

"""The prerank service as a process: `python -m prerank_svc`."""

from __future__ import annotations

import sys

from features.schema import Stage
from prerank_svc.config import PrerankConfig
from prerank_svc.scorer import PrerankScorer
from serving.process import main
from serving.ranking import build_with

build = build_with(Stage.PRERANK, PrerankScorer.open)

if __name__ == "__main__":
    sys.exit(main(PrerankConfig, build))

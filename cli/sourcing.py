"""Lends the retrieval service's engine to training, which may not import a service: this is the place where both meet."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import retrieval_svc
from features.context import UserContexts
from retrieval_svc.catalogue import Catalogue
from retrieval_svc.config import SourcingConfig
from retrieval_svc.engine import RetrievalEngine
from serving import mixing, ragged
from training.run_key import code_digest

Int64 = NDArray[np.int64]
_BY_DEFAULT = SourcingConfig()
_FILES = {"igql_file", "igql_directory", "takedown_file"}


class EngineSourcing:
    """Candidates exactly as retrieval_svc would serve them from the same files and settings, but for takedowns."""

    def __init__(self, engine: RetrievalEngine) -> None:
        self._engine = engine

    def __call__(self, contexts: UserContexts, seen_B: Sequence[Int64], count: int) -> tuple[Int64, Int64]:
        """Media ids of all users one after the other, and the offsets of B users."""
        sourced = self._engine.retrieve(contexts, seen_B, np.full(len(contexts), count, dtype=np.int64))
        return sourced.candidates.media_id_N, sourced.candidates.offsets


def candidates_depend_on(config: SourcingConfig) -> str:
    """A hash of what decides which candidates the engine finds in given files: query, rules, its code, and how lists are mixed."""
    shared = b"".join(Path(inspect.getfile(module)).read_bytes() for module in (mixing, ragged))
    # A set has no order, and a file counts by what is in it.
    rules = config.model_dump(exclude=_FILES) | {"allowed_policy_flags": sorted(config.allowed_policy_flags)}
    told = json.dumps(rules, sort_keys=True).encode()
    return hashlib.sha256(
        code_digest(retrieval_svc).encode() + shared + told + config.igql_file.read_bytes()
    ).hexdigest()


def open_sourcing(staged: Path, config: SourcingConfig = _BY_DEFAULT) -> EngineSourcing:
    """The engine over sourcing files that were just written, before there is a manifest to verify them against.

    Raises IgqlError for a query that does not fit them.
    """
    catalogue = Catalogue.of_files(lambda relative: staged / relative)
    return EngineSourcing(RetrievalEngine(catalogue, config))

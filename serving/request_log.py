"""A sampled log of what a ranking stage was asked and what it computed, features included: training and skew checks read it.

One .npz file per request and stage, `<directory>/<stage>/<request_id>.npz` (arrays and text, no pickle). A request is logged by all
stages or by none, since its id decides. Knows the disk; a full or broken one costs log entries, never a request.

Shapes: N candidates of all B users of the request, F features of the stage, T tasks.
"""

from __future__ import annotations

import io
import logging
import os
import re
import zlib
from pathlib import Path

import numpy as np

from serving.columns import RankBatch
from serving.scorer import Scored

_log = logging.getLogger(__name__)
_BUCKETS = 1_000_000
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what may become a file name


class RequestLog:
    """Writes a share of all requests, up to `max_files` per process: a forgotten log must not fill the disk."""

    def __init__(self, directory: Path, stage: str, share: float, max_files: int = 100_000) -> None:
        self._directory, self._share, self._left = directory / stage, share, max_files

    def wants(self, request_id: str) -> bool:
        """Whether this request is in the sample."""
        sampled = zlib.crc32(request_id.encode()) % _BUCKETS < self._share * _BUCKETS
        return sampled and self._left > 0 and _PLAIN.fullmatch(request_id) is not None

    def write(self, batch: RankBatch, scored: Scored, tasks: tuple[str, ...], bundle_version: str) -> None:
        """Writes one request, whole or not at all."""
        self._left -= 1
        columns = {
            "user_id_B": np.array(batch.contexts.user_ids),
            "request_time_ms_B": batch.contexts.request_time_ms_B,
            "offsets": batch.candidates.offsets,
            "media_id_N": batch.candidates.media_id_N,
            "score_N": scored.score_N,
            "tasks": np.array(tasks, dtype=np.str_),
            "bundle_version": np.array(bundle_version),
        }
        if scored.dense_NF is not None:
            columns["dense_NF"] = scored.dense_NF
        if scored.probability_NT is not None:
            columns["probability_NT"] = scored.probability_NT
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **columns)
        target = self._directory / f"{batch.request_id}.npz"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            fresh = target.with_suffix(".new")
            fresh.write_bytes(buffer.getvalue())
            os.replace(fresh, target)
        except OSError as error:
            _log.warning("request not logged", extra={"request_id": batch.request_id, "error": str(error)})

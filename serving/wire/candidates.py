"""Candidates messages <-> CandidateColumns. Shapes: B users, N candidates."""

from __future__ import annotations

import numpy as np

from protos.explore.v1.candidates_pb2 import Candidates
from serving.columns import CandidateColumns
from serving.errors import InvalidArgument
from serving.wire.columns import FLOAT32, INT64, UINT8, check_rows, column, decode_offsets, highest, lowest, to_bytes

MAX_SOURCES = 256  # source_index is one byte


def decode_candidates(message: Candidates, n_users: int, path: str = "candidates") -> CandidateColumns:
    """The candidates of `n_users` users as read-only views of the message's bytes."""
    offsets = decode_offsets(message.offsets, n_users, f"{path}.offsets")
    rows, paths = int(offsets[-1]), tuple(message.source_paths)
    if paths and len(paths) != len(message.sources):
        raise InvalidArgument(
            f"{path}.source_paths", f"has {len(paths)} entries, must be none or {len(message.sources)}"
        )
    columns = CandidateColumns(
        offsets=offsets,
        media_id_N=column(message.media_id, INT64, rows, f"{path}.media_id"),
        author_id_N=column(message.author_id, INT64, rows, f"{path}.author_id"),
        seed_account_id_N=column(message.seed_account_id, INT64, rows, f"{path}.seed_account_id"),
        source_index_N=column(message.source_index, UINT8, rows, f"{path}.source_index"),
        score_N=column(message.score, FLOAT32, rows, f"{path}.score"),
        sources=tuple(message.sources),
        source_paths=paths,
    )
    _check_values(columns, path)
    return columns


def encode_candidates(columns: CandidateColumns, *, with_paths: bool = True) -> Candidates:
    """The message of the columns. ValueError if there are more sources than one byte can name.

    `with_paths=False` leaves out the operator paths, for receivers that only score.
    """
    if len(columns.sources) > MAX_SOURCES:
        raise ValueError(f"{len(columns.sources)} sources, at most {MAX_SOURCES} fit")
    return Candidates(
        offsets=columns.offsets.tolist(),
        media_id=to_bytes(columns.media_id_N, INT64),
        author_id=to_bytes(columns.author_id_N, INT64),
        seed_account_id=to_bytes(columns.seed_account_id_N, INT64),
        source_index=to_bytes(columns.source_index_N, UINT8),
        score=to_bytes(columns.score_N, FLOAT32),
        sources=columns.sources,
        source_paths=columns.source_paths if with_paths else (),
    )


def _check_values(columns: CandidateColumns, path: str) -> None:
    if len(columns.sources) > MAX_SOURCES:
        raise InvalidArgument(f"{path}.sources", f"has {len(columns.sources)} names, at most {MAX_SOURCES}")
    known = len(columns.sources)
    if not len(columns) or _is_good(columns):
        return
    for name, values_N, good_N, rule in (
        ("media_id", columns.media_id_N, columns.media_id_N > 0, "> 0"),
        ("author_id", columns.author_id_N, columns.author_id_N > 0, "> 0"),
        ("seed_account_id", columns.seed_account_id_N, columns.seed_account_id_N >= 0, "an account or 0 for none"),
        ("source_index", columns.source_index_N, columns.source_index_N < known, f"below the {known} sources"),
        ("score", columns.score_N, ~np.isinf(columns.score_N), "finite, or NaN for unscored"),
    ):
        check_rows(good_N, values_N, f"{path}.{name}", rule)


def _is_good(columns: CandidateColumns) -> bool:
    """All rules of `_check_values` at once; which of them a column breaks, and where, is worth looking for only then."""
    return bool(
        lowest(columns.media_id_N) > 0
        and lowest(columns.author_id_N) > 0
        and lowest(columns.seed_account_id_N) >= 0
        and highest(columns.source_index_N) < len(columns.sources)
        and not np.isinf(columns.score_N).any()
    )

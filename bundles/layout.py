"""Where things lie inside a bundle. Training writes these paths, the services read them; nobody spells them out again.

Shapes: M media, U accounts, I indexed vectors, K stored neighbours, W windows, S segments.
"""

from __future__ import annotations

from typing import Final

ITEMS: Final = "items"  # features.item_table.ItemTable
RERANK_EMBEDDINGS: Final = "rerank/embeddings"  # features.embeddings.ItemEmbeddings

# An EMBEDDING file is JSON: {"name", "version", "dim", "vectors", "trained_until_ms"}. Vectors of two versions never meet.
ACCOUNT_EMBEDDING: Final = "accounts/embedding.json"
ACCOUNT_INDEX: Final = "accounts/index.faiss"  # over unit account vectors, inner product
ACCOUNT_INDEX_ROWS: Final = "accounts/index_rows.npy"  # int64 [I]: account row of every vector in the index
ACCOUNT_NEIGHBOURS: Final = (
    "accounts/neighbour_rows.npy"  # int32 [U, K]: account rows, best first, -1 where there is none
)
ACCOUNT_NEIGHBOUR_COSINES: Final = "accounts/neighbour_cosines.npy"  # float16 [U, K]

ACCOUNT_MEDIA_OFFSETS: Final = "accounts/media_offsets.npy"  # int64 [U + 1]: where the rows of each account start
ACCOUNT_MEDIA_ROWS: Final = "accounts/media_rows.npy"  # int32 [M]: media rows, newest first within an account
ACCOUNT_FOLLOW_OFFSETS: Final = "accounts/follow_offsets.npy"  # int64 [U + 1]
ACCOUNT_FOLLOW_ROWS: Final = (
    "accounts/follow_rows.npy"  # int32: accounts that the account's owner follows, newest first
)
ACCOUNT_ENGAGED_OFFSETS: Final = "accounts/engaged_offsets.npy"  # int64 [U + 1]
ACCOUNT_ENGAGED_ROWS: Final = (
    "accounts/engaged_rows.npy"  # int32: media that the account's owner acted on, newest first
)

MEDIA_EMBEDDING: Final = "media/embedding.json"
MEDIA_INDEX: Final = "media/index.faiss"  # over unit media vectors (the item tower), inner product
MEDIA_INDEX_ROWS: Final = "media/index_rows.npy"  # int64 [I]: media row of every vector in the index
CO_OCCURRING_OFFSETS: Final = "media/co_occurring_offsets.npy"  # int64 [M + 1]
CO_OCCURRING_ROWS: Final = "media/co_occurring_rows.npy"  # int32: media liked by the same users, best first
CO_OCCURRING_SCORES: Final = "media/co_occurring_scores.npy"  # float32, in (0, 1]

TRENDING: Final = "trending/windows.json"  # {"windows_ms": [W], "segments": [S]}
TRENDING_VALUES: Final = (
    "trending/window_values.npy"  # float32 [W, M]: smoothed value per impression inside each window
)
SEGMENT_OFFSETS: Final = "trending/segment_offsets.npy"  # int64 [S + 1]
SEGMENT_ROWS: Final = "trending/segment_rows.npy"  # int32: the media that each segment likes lately, best first


def model(stage: str) -> str:
    """The ONNX graph of one ranking stage."""
    return f"{stage}/model.onnx"


# What each service reads, and has verified: files and folders. Whatever else a bundle holds is none of its business.
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "retrieval": (ITEMS, "accounts", "media", "trending"),
    "prerank": (ITEMS, "prerank"),
    "rank": (ITEMS, "rank"),
    "rerank": (ITEMS, "rerank"),
    "gateway": (ITEMS,),
}

"""Where things lie inside a bundle. Training writes these paths, the services read them; nobody spells them out again."""

from __future__ import annotations

from typing import Final

ITEMS: Final = "items"  # features.item_table.ItemTable
RERANK_EMBEDDINGS: Final = "rerank/embeddings"  # features.embeddings.ItemEmbeddings

ACCOUNT_INDEX: Final = "accounts/index.faiss"  # over unit account vectors, inner product
ACCOUNT_INDEX_ROWS: Final = "accounts/index_rows.npy"  # int64 [I]: account row of every vector in the index
ACCOUNT_MEDIA_OFFSETS: Final = "accounts/media_offsets.npy"  # int64 [U + 1]: where the rows of each account start
ACCOUNT_MEDIA_ROWS: Final = "accounts/media_rows.npy"  # int32 [M]: media rows, newest first within an account


def model(stage: str) -> str:
    """The ONNX graph of one ranking stage."""
    return f"{stage}/model.onnx"

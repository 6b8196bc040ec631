"""What makes two tables of embedding vectors the same embedding. Knows nothing of how they are trained or searched.

Shapes: R rows, E dimensions.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

_DIGITS = 16


def embedding_version(vector_RE: NDArray[np.floating]) -> str:
    """A name for exactly these vectors: the beginning of the SHA-256 of type, shape and numbers.

    Vectors of two trainings live in two spaces, where a cosine between them means nothing; whoever compares vectors compares
    versions first.
    """
    digest = hashlib.sha256(f"{vector_RE.dtype.str} {vector_RE.shape}".encode())
    digest.update(np.ascontiguousarray(vector_RE).data)
    return digest.hexdigest()[:_DIGITS]

"""Account vectors on a plane: the two directions in which they differ most. Knows an item table, draws nothing.

Shapes: I accounts that have a vector, E dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.item_table import ItemTable
from training.ig2vec_quality import main_topics

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

_LEAST = 3  # accounts: two points always lie on a line


@dataclass(frozen=True)
class EmbeddingMap:
    """Where accounts lie, and how much of their spread the plane shows."""

    place_I2: Float32
    topic_I: Int64  # index into `topics`, UNKNOWN_TOPIC if the account has none
    topics: tuple[str, ...]
    explained: tuple[float, float]  # share of the variance along each axis
    accounts: int  # all of the table, also those without a vector


def map_accounts(items: ItemTable) -> EmbeddingMap | None:
    """Principal components of the unit vectors; None where fewer than three accounts have one, or all have the same."""
    known_U = (items.account_vector_UE != 0).any(axis=1)
    vector_IE = items.account_vector_UE[known_U].astype(np.float64)
    if len(vector_IE) < _LEAST or vector_IE.shape[1] < 2:
        return None
    centred_IE = vector_IE - vector_IE.mean(axis=0)
    # Of the E x E covariance: accounts are many, dimensions few.
    variance_E, axis_EE = np.linalg.eigh(centred_IE.T @ centred_IE)
    if variance_E[-1] <= np.finfo(np.float64).eps * len(vector_IE):
        return None
    axis_E2 = axis_EE[:, [-1, -2]]
    axis_E2 = axis_E2 * np.sign(axis_E2[np.abs(axis_E2).argmax(axis=0), [0, 1]])  # otherwise the sign is anyone's guess
    share = variance_E / variance_E.sum()
    return EmbeddingMap(
        place_I2=(centred_IE @ axis_E2).astype(np.float32),
        topic_I=main_topics(items)[known_U],
        topics=items.topics,
        explained=(float(share[-1]), float(share[-2])),
        accounts=len(known_U),
    )

"""Fewer rows without any label for training, and the closed-form correction of what that does to probabilities. Pure numpy.

Shapes: N rows, T tasks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.columns import chunks

Floats = NDArray[np.floating]
Int64 = NDArray[np.int64]


def kept_rows(label_NT: Floats, id_columns: tuple[Int64, ...], share: float) -> NDArray[np.bool_]:
    """Rows with a label, and `share` of the others, [N].

    The hash of a row's `id_columns` decides, so that the fate of a row depends on no other row, nor on its place in the log.
    """
    kept_N = np.empty(len(label_NT), dtype=np.bool_)
    for of in chunks(0, len(label_NT)):
        hash_X = np.zeros(of.stop - of.start, dtype=np.uint64)
        for column_N in id_columns:
            hash_X = _mixed(hash_X + column_N[of].astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15))
        kept_N[of] = (label_NT[of] > 0).any(axis=1) | (hash_X / 2.0**64 < share)
    return kept_N


def prior_correction(label_NT: Floats, kept_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What to add to the logits of heads that trained on the kept rows: ln(share of their negatives that was kept), [T].

    It would be exact if a head's own label alone decided what is kept. Rows that another head's label has kept make a difference
    that is not the same for every row; that is left to the isotonic function.
    """
    all_T = kept_T = np.zeros(label_NT.shape[1], dtype=np.int64)
    for of in chunks(0, len(label_NT)):
        negative_NT = label_NT[of] == 0
        all_T, kept_T = all_T + negative_NT.sum(axis=0), kept_T + negative_NT[kept_N[of]].sum(axis=0)
    return np.log(np.maximum(kept_T, 1) / np.maximum(all_T, 1))


def _mixed(value_N: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele et al., 2014): every input bit reaches every output bit."""
    value_N = (value_N ^ (value_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value_N = (value_N ^ (value_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value_N ^ (value_N >> np.uint64(31))

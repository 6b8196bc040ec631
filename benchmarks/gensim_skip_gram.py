"""gensim's Word2Vec behind the signature of our own training, for the comparison of benchmarks/ig2vec.py.

gensim is imported when it is called: it is no dependency of this project.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from training.ig2vec import Float32, Ig2vecConfig, Sessions


def gensim_models() -> Any:
    """The module. Raises SystemExit where gensim is not installed."""
    try:
        return import_module("gensim.models")
    except ImportError as error:
        raise SystemExit("gensim is not installed: `pip install gensim` into this environment") from error


def train_gensim(tokens: Sessions, accounts: int, config: Ig2vecConfig) -> Float32:
    """Unit vectors [U, E] of the same settings, one worker."""
    starts = np.flatnonzero(np.diff(tokens.session_A, prepend=-1))
    sentences = [part.tolist() for part in np.split(tokens.account_A, starts[1:])]
    model = gensim_models().Word2Vec(
        sentences,
        vector_size=config.dim,
        window=config.window,
        min_count=1,
        sg=1,
        hs=0,
        negative=config.negatives,
        ns_exponent=config.noise_exponent,
        sample=config.subsample,
        epochs=config.epochs,
        seed=config.seed,
        workers=1,
    )
    vector_UE = np.zeros((accounts, config.dim), dtype=np.float32)
    vector_UE[np.array(model.wv.index_to_key)] = model.wv.get_normed_vectors()
    return vector_UE

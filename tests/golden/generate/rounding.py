"""Whether rounding decides a result: then it is no reference for anybody."""

from dataclasses import replace

import numpy as np

# How many times a result must come out the same in float32, with other roundings of its inputs.
ROUNDINGS = 3


def shaken(batch, seed):
    """The batch with other roundings, all rows by the same map: equal, opposite and empty rows stay so."""
    d = batch.embeddings.shape[1]
    turn = np.eye(d) + 3e-7 * np.random.default_rng(seed).normal(size=(d, d))
    move = lambda rows: (rows @ turn).astype(np.float32)
    extra = {name: move(value) if name == "ref_embeddings" else value for name, value in batch.extra.items()}
    return replace(batch, embeddings=move(batch.embeddings), extra=extra)

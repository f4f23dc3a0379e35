"""The Poisson bootstrap: how often each example is drawn into each replicate, and intervals from the replicates.

A replicate gives every example a multiplicity, Poisson with mean 1, drawn from (seed, example id) alone: the same at
any number of ranks, in any order, in any attempt. Examples of one cluster share theirs (the key is then the cluster's).
Source: N. Chamandy et al., Estimating uncertainty for massive data streams, 2012.
"""

from __future__ import annotations

import math

import numpy as np

from harness.exact.splitmix import mix, outputs

__all__ = ["THRESHOLDS", "multiplicities", "stream"]

# Of a uniform 32-bit integer u the multiplicity is how many of these it reaches: the Poisson(1) distribution function in
# units of 2^-32. Past the last, 2^-32 is not reached: no multiplicity is above 12.
THRESHOLDS = tuple(round(2**32 * math.exp(-1) * sum(1 / math.factorial(j) for j in range(k + 1))) for k in range(12))


def multiplicities(keys: np.ndarray, seed: int, replicates: int) -> np.ndarray:
    """Draw how often each key's examples count in each replicate.

    Args:
      keys: int64 [n]: example ids, or hashes of the cluster's key.
      seed, replicates: of the job.
    Returns: int64 [n, replicates].

    >>> multiplicities(np.array([0, 1, 2]), 17, 5).tolist() == multiplicities(np.array([0, 1, 2, 3]), 17, 5)[:3].tolist()
    True
    """
    start = keys.astype(np.int64).view(np.uint64) ^ np.uint64(stream(seed))
    words = outputs(mix(start), (replicates + 1) // 2)
    # Each 64-bit word gives two draws.
    halves = np.stack([words & np.uint64(0xFFFFFFFF), words >> np.uint64(32)], axis=-1).reshape(len(keys), 2 * words.shape[1])[
        :, :replicates
    ]
    counts = np.zeros(halves.shape, np.int64)
    for threshold in THRESHOLDS:
        counts += halves >= np.uint64(threshold)
    return counts


def stream(seed: int) -> int:
    """Return the 64-bit constant that sets the streams of one seed apart from those of another."""
    return int(outputs(np.array([seed % 2**64], np.uint64), 1)[0, 0])

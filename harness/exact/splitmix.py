"""SplitMix64, the hash of example ids, random draws and constants. NumPy only; `tf_splitmix` is the same in the graph.

A generator is a 64-bit state that grows by a constant; what it puts out is the state, mixed.
Source: G. Steele, D. Lea, C. Flood: Fast splittable pseudorandom number generators, OOPSLA 2014.
"""

from __future__ import annotations

import numpy as np

__all__ = ["FOLDS", "INCREMENT", "LAST_SHIFT", "hash_ids", "mix", "outputs", "steps"]

INCREMENT = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, odd
FOLDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))  # the shift, then the multiplier
LAST_SHIFT = 31


def mix(words: np.ndarray) -> np.ndarray:
    """Mix the bits of 64-bit words; one to one.

    Args:
      words: uint64 [...]. Arithmetic wraps, as it has to.
    Returns: uint64 [...].

    >>> hex(mix(np.array([INCREMENT], np.uint64))[0])
    '0xe220a8397b1dcdaf'
    """
    for shift, factor in FOLDS:
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(LAST_SHIFT))


def steps(count: int) -> np.ndarray:
    """Return by how much a state has grown before each of its first outputs: uint64 [count]."""
    return np.arange(1, count + 1, dtype=np.uint64) * np.uint64(INCREMENT)


def outputs(states: np.ndarray, count: int) -> np.ndarray:
    """Return the first outputs of generators.

    Args:
      states: uint64 [n], one of each generator.
      count: how many outputs of each.
    Returns: uint64 [n, count].

    The vector is that of Rosetta Code, "Pseudo-random numbers/Splitmix64".

    >>> outputs(np.array([1234567], np.uint64), 3).tolist()
    [[6457827717110365317, 3203168211198807973, 9817491932198370423]]
    """
    return mix(states[:, None] + steps(count))


def hash_ids(ids: np.ndarray) -> np.ndarray:
    """Hash example ids: the hash of id i is output i of the generator that begins at 0.

    Args:
      ids: int64 or uint64 [...].
    Returns: uint64 [...].

    >>> [hex(h) for h in hash_ids(np.array([0, 1, 2]))]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4', '0x6c45d188009454f']
    """
    return mix((ids.astype(np.uint64) + np.uint64(1)) * np.uint64(INCREMENT))

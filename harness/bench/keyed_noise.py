"""Noise that is keyed by a stream and an id: the data and the weights of the kits. Pure integers, and floats that are exact.

Nothing here rounds: integers become float32 by a shift of the exponent alone. So every machine makes the same arrays.
"""

from __future__ import annotations

import numpy as np

from harness.exact.draws import stream
from harness.exact.splitmix import mix, outputs

__all__ = ["octets", "small_integers", "weights"]

WEIGHT_BITS = 12


def octets(seed: int, ids: np.ndarray, count: int) -> np.ndarray:
    """Draw bytes for each id.

    Args:
      seed: of the stream.
      ids: int64 [n].
      count: how many bytes of each.
    Returns: uint8 [n, count]: of one id and seed always the same, whichever others are asked for.

    >>> octets(7, np.array([0, 1]), 3).tolist() == octets(7, np.array([1, 0]), 5)[::-1, :3].tolist()
    True
    """
    states = mix(ids.astype(np.int64).view(np.uint64) ^ np.uint64(stream(seed)))
    words = outputs(states, -(-count // 8)).astype("<u8")
    return words.view(np.uint8).reshape(len(ids), -1)[:, :count]


def small_integers(seed: int, ids: np.ndarray, count: int, size: int) -> np.ndarray:
    """Draw integers in [0, size) for each id, where size is at most 256.

    Returns: int64 [n, count]. Where `size` is no power of two, the first ones are a little more frequent.

    >>> small_integers(7, np.arange(3), 2, 10).shape
    (3, 2)
    """
    return octets(seed, ids, count).astype(np.int64) * size >> 8


def weights(seed: int, shape: tuple[int, ...], scale: float) -> np.ndarray:
    """Draw the weights of a layer, of 12 bits each.

    Args:
      seed: of the stream.
      shape: of the array.
      scale: what the largest weight stays below; a power of two, so that no weight is rounded.
    Returns: float32 [*shape], in [-scale, scale).

    >>> bool(np.abs(weights(3, (4, 5), 0.25)).max() < 0.25)
    True
    """
    count = int(np.prod(shape))
    words = outputs(np.array([stream(seed)], np.uint64), count)[0] >> np.uint64(64 - WEIGHT_BITS)
    half = 1 << (WEIGHT_BITS - 1)
    return ((words.astype(np.int64) - half) * (scale / half)).astype(np.float32).reshape(shape)

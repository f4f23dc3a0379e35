"""How many examples are read at a time: as many as their bytes allow, learned from those that were read.

What a file's size says of its examples may be nothing at all: a dataset and a reader of the user's own have none, and a
list of images is small whatever the images are.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["BLOCK_BYTES", "BlockSize", "size_of"]

BLOCK_BYTES = 8 << 20  # what is read at a time is in memory several times over
GROWTH = 4  # times as many as before, where they were small: the next ones may be larger


class BlockSize:
    """A number of examples, a multiple of a unit, that begins with one unit and follows the bytes of what is read.

    Args:
      unit: examples.
      most: units.

    Attributes:
      unit: the same.

    >>> size = BlockSize(64, 64)
    >>> for bytes_ in (64 * 100, 256 * 100, 1024 * 100): size.learn(size.examples, bytes_)
    >>> size.examples
    4096
    >>> size.learn(4096, 4096 << 20)
    >>> size.examples
    64
    """

    def __init__(self, unit: int, most: int) -> None:
        self.unit, self._most = unit, max(most, 1)
        self._units = 1
        self._may_grow = True

    @property
    def examples(self) -> int:
        """How many to read at a time."""
        return self.unit * self._units

    def begin(self) -> None:
        """Let it grow again. Until then it grows no more once it has shrunk: a change may cost a second look at the data."""
        self._may_grow = True

    def learn(self, examples: int, size_bytes: int) -> None:
        """Take note of what was read at once."""
        fitting = min(self._most, BLOCK_BYTES * examples // (max(size_bytes, 1) * self.unit))
        if 2 * fitting < self._units:
            self._units, self._may_grow = max(fitting, 1), False
        elif self._may_grow and fitting > self._units and examples >= self.examples:
            self._units = min(fitting, GROWTH * self._units)


def size_of(arrays: Iterable[np.ndarray]) -> int:
    """Return the bytes of arrays; of objects, which are texts, those of the texts.

    >>> size_of([np.zeros([2, 3], np.float32), np.array([b"abc", b""], object)])
    43
    """
    total = 0
    for array in arrays:
        total += array.nbytes
        if array.dtype.kind == "O":
            total += sum(map(len, array.ravel().tolist()))
    return total

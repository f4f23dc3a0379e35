"""Rows of a ranking by group, and exact sums over groups. NumPy; of TensorFlow only what makes a group of a feature."""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from harness.errors import ShapeError
from harness.exact import GRID_BITS, LIMB_BITS, LIMBS, to_cells, to_fraction

__all__ = ["Ranked", "exact_sum", "group_key", "ratios", "segment_sum"]


class Ranked:
    """The rows of one part, by group; groups and the rows in them stand in the order of the part.

    Attributes:
      label: float64 [n]. key: float64 [n], the negated score.
      starts, sizes: int64 [groups], the first row and the number of rows of each.
      place: int64 [n], rank within the group, from 0.
      times: object [groups], the integer weight of each group, that of its rows; None where all count alike.
      uneven: how many groups have rows of different weights.
    """

    def __init__(self, group: np.ndarray, key: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> None:
        self.label, self.key = label, key
        self.starts = _starts(group)
        self.sizes = np.diff(self.starts, append=len(group))
        self.place = np.arange(len(group)) - self.spread(self.starts)
        self.times, self.uneven = None, 0
        if weight is not None:
            first = weight[self.starts]
            self.times = first.astype(object)  # Python's integers: their sums and products may pass 64 bits
            self.uneven = int((self.sum((weight != self.spread(first)).astype(np.int64)) > 0).sum())

    @classmethod
    def of(cls, part: Any) -> Ranked:
        """Read a part; a row that counts several times stands so many times."""
        rows = [part.group, part.key, part.values["label"], *([] if part.weight is None else [part.weight])]
        once = bool((part.multiplicity == 1).all())
        return cls(*rows) if once else cls(*(np.repeat(column, part.multiplicity) for column in rows))

    def weight(self, some: np.ndarray) -> int:
        """Return what the groups count for where `some` is true, bool [groups]: their number, or their weight."""
        return int(some.sum()) if self.times is None else sum(self.times[some].tolist())

    def weights(self, some: np.ndarray) -> np.ndarray | None:
        """Return the weights of the groups where `some` is true, object; None where all count alike."""
        return None if self.times is None else self.times[some]

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sum [n] over the rows of each group, [groups]. Of float64 the bits depend on the rows of the group alone."""
        return segment_sum(values, self.starts)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Give every row the value of its group: [groups] to [n]."""
        return np.repeat(values, self.sizes)

    def running(self, values: np.ndarray) -> np.ndarray:
        """Sum int64 [n] over the rows of the group up to each row, itself included."""
        total = np.cumsum(values)
        return total - self.spread((total - values)[self.starts])

    @cached_property
    def ties(self) -> np.ndarray:
        """Where each run of equal scores within a group starts, int64 [runs]."""
        fresh = np.concatenate([[True], self.key[1:] != self.key[:-1]])[: len(self.key)]
        fresh[self.starts] = True
        return np.flatnonzero(fresh)


def _starts(group: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]])[: len(group)])


def segment_sum(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum [n] over the segments that begin at `starts`, each up to the next.

    >>> segment_sum(np.array([1, 2, 4]), np.array([0, 2])).tolist()
    [3, 4]
    """
    return np.add.reduceat(values, starts) if len(starts) else np.zeros(0, values.dtype)


def group_key(what: str, feature: Any, count: int | None) -> Any:
    """Turn a feature into a group, int64 [N]: integers as they are, strings by a 63-bit hash.

    Two of a million different strings share a hash with a probability of 5e-8.
    Raises: ShapeError: it is neither, or not one value per example.
    """
    import tensorflow as tf

    if feature.shape.num_elements() != count:
        raise ShapeError(f"{what}: expected one value per position, [{count}], found {feature.dtype.name} {feature.shape}")
    if feature.dtype == tf.string:
        with tf.device("/CPU:0"):
            return tf.strings.to_hash_bucket_fast(tf.reshape(feature, [-1]), 2**63 - 1)
    if not (feature.dtype.is_integer or feature.dtype.is_bool):
        raise ShapeError(f"{what}: a group is a string or an integer, found {feature.dtype.name}")
    return tf.cast(tf.reshape(feature, [-1]), tf.int64)


def exact_sum(values: np.ndarray, weights: np.ndarray | None = None) -> Fraction:
    """Sum float64 [n] exactly, each rounded once to the grid, and times its weight where there are any, object [n].

    >>> exact_sum(np.array([1e16, 1.0, -1e16]))
    Fraction(1, 1)
    >>> exact_sum(np.array([0.5, 0.25]), np.array([3, 2**60], object)) == Fraction(3, 2) + 2**58
    True
    """
    step = 1 << 16  # ten int64 a number: a piece at a time
    if weights is not None:
        total = 0
        for at in range(0, len(values), step):
            cells = to_cells(values[at : at + step])[:, :LIMBS].astype(object)
            whole = cells @ np.array([1 << LIMB_BITS * k for k in range(LIMBS)], object)
            total += sum((whole * weights[at : at + step]).tolist())
        return Fraction(total, 1 << GRID_BITS)
    pieces = [to_cells(values[at : at + step]).sum(axis=0) for at in range(0, len(values), step)]
    return sum(map(to_fraction, pieces), Fraction(0))


def ratios(above: np.ndarray, below: np.ndarray, weights: np.ndarray | None = None) -> Fraction:
    """Sum weight x above / below, integers [n], each ratio rounded once to the grid of the exact sums.

    >>> float(ratios(np.array([1, 2]), np.array([3, 3])))
    1.0
    """
    times = [1] * len(above) if weights is None else weights.tolist()
    half = GRID_BITS + 1
    total = sum(
        ((a << half) + b) // (b << 1) * w for a, b, w in zip(above.tolist(), below.tolist(), times, strict=True)
    )  # fmt: skip
    return Fraction(total, 1 << GRID_BITS)

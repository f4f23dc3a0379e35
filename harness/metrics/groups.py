"""Rows of a ranking by group, and exact sums over groups. NumPy; of TensorFlow only what makes a group of a feature."""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from harness.errors import ShapeError
from harness.exact import wide_integers as wide
from harness.exact.limbs import EXACT, GRID_BITS, LIMB_BITS, LIMBS, to_cells, to_fraction

__all__ = ["Ranked", "exact_sum", "group_key", "ratios", "segment_sum"]


class Ranked:
    """The rows of one part, by group; groups and the rows in them stand in the order of the part.

    A group that a replicate draws m times counts m times: its rows stand once, and what they add is weighed by m.

    Attributes:
      label: float64 [n]. key: float64 [n], the negated score.
      starts, sizes: int64 [groups], the first row and the number of rows of each.
      place: int64 [n], rank within the group, from 0.
      copies: int64 [groups], how often each group counts; None where all count once.
      times: int64 or object [groups], the integer weight of each group: that of its rows times its copies; None where
        all count alike.
      uneven: how many groups have rows of different weights.
    Raises: ValueError: the rows of a group have different multiplicities.
    """

    def __init__(
        self,
        group: np.ndarray,
        key: np.ndarray,
        label: np.ndarray,
        weight: np.ndarray | None = None,
        multiplicity: np.ndarray | None = None,
    ) -> None:
        self.label, self.key = label, key
        self.starts = _starts(group)
        self.sizes = np.diff(self.starts, append=len(group))
        self.place = np.arange(len(group)) - self.spread(self.starts)
        self.copies: np.ndarray | None = None
        self.times, self.uneven = None, 0
        if multiplicity is not None and (multiplicity != 1).any():
            self.times = self.copies = multiplicity[self.starts]
            if self._uneven(multiplicity).any():
                raise ValueError("expected one multiplicity a group: a ranking is drawn by whole groups")
        if weight is not None:
            # Python's integers: their sums and products may pass 64 bits
            first = weight[self.starts].astype(object)
            self.times = first if self.copies is None else first * self.copies
            self.uneven = int(self._uneven(weight).sum())

    @classmethod
    def of(cls, part: Any) -> Ranked:
        """Read a part."""
        return cls(part.group, part.key, part.values["label"], part.weight, part.multiplicity)

    def _uneven(self, column: np.ndarray) -> np.ndarray:
        """Return in which groups a column is not one number, bool [groups]."""
        return self.sum((column != self.spread(column[self.starts])).astype(np.int64)) > 0

    def count(self, some: np.ndarray) -> int:
        """Return how many groups there are where `some` is true, bool [groups], each as often as it was drawn."""
        return int(some.sum() if self.copies is None else self.copies[some].sum())

    def weight(self, some: np.ndarray) -> int:
        """Return what the groups count for where `some` is true, bool [groups]: their number, or their weight."""
        return int(some.sum()) if self.times is None else sum(self.times[some].tolist())

    def weights(self, some: np.ndarray) -> np.ndarray | None:
        """Return the weights of the groups where `some` is true; None where all count alike."""
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
    """Sum float64 [n] exactly, however small, each times its integer weight where there are any, [n].

    >>> exact_sum(np.array([1e16, 1.0, -1e16]))
    Fraction(1, 1)
    >>> exact_sum(np.array([0.5, 0.25]), np.array([3, 2**60], object)) == Fraction(3, 2) + 2**58
    True
    >>> exact_sum(np.array([1e-50, 1e-300])) == Fraction(1e-50) + Fraction(1e-300)
    True
    """
    step = 1 << 15  # eleven int64 a number: a piece at a time
    total = Fraction(0)
    for at in range(0, len(values), step):
        piece, times = values[at : at + step], None if weights is None else weights[at : at + step]
        unit = 1
        while len(piece):
            # What lies on the grid is added now; the rest is brought there by a power of two.
            small = (np.abs(piece) < EXACT) & (piece != 0)
            total += _on_grid(np.where(small, 0.0, piece), times) / unit
            piece, times = np.ldexp(piece[small], LIFT), None if times is None else times[small]
            unit <<= LIFT
    return total


LIFT = 180  # brings numbers below 2^-75 to below 2^105


def _on_grid(values: np.ndarray, weights: np.ndarray | None) -> Fraction:
    """Sum numbers that lie on the grid."""
    cells = to_cells(values)
    if weights is None:
        return to_fraction(cells.sum(axis=0))
    limbs = (wide.dot(cells[:, k], weights) for k in range(LIMBS))
    return Fraction(sum(limb << LIMB_BITS * k for k, limb in enumerate(limbs)), 1 << GRID_BITS)


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

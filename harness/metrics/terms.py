"""The kinds of term: what a position may add to a metric. Part of the contract; see `contract.py`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

__all__ = ["Count", "Gram", "GramSums", "Number", "Rows", "Term"]


@dataclass(frozen=True)
class Number:
    """A number per position and column; `values` is float [N] or [N, K]. Summed exactly.

    `low` is what rounding took from `values`, where the two are an error-free pair: both are added to the same sum.
    `spread` asks for what the standard error of the mean needs too; `values` is [N] then. See `Totals.mean_error`.
    """

    values: Any
    low: Any = None
    spread: bool = False


@dataclass(frozen=True)
class Count:
    """A bucket per position; `index` is integer [N] in [0, size), or negative for none."""

    index: Any
    size: int


@dataclass(frozen=True)
class Rows:
    """Rows kept by the rank that saw them, for what is no sum of fixed size; see `RowMetric`.

    `key` is float64 [N], what rows are sorted by, ascending; `values` are numbers by name, float64 or int64 [N];
    `group` is int64 [N]: rows of one group stay together (None: one group). Where `per_row` is given, int64 [N], each
    row belongs to that position (a position may have no row, or several), else row i belongs to position i.
    """

    key: Any
    values: Mapping[str, Any]
    group: Any = None
    per_row: Any = None


@dataclass(frozen=True)
class Gram:
    """Sums of features and of all products of two, for covariances of many; `values` is float [B, D], an example a position.

    Features are rounded once, to multiples of `largest` 2^-22, a power of two times 2^-22; then everything is integers:
    a product is at most 2^44, 512 of them add up below 2^53 in a float64 matrix product, and go into the state as 32 low
    bits and the rest. An example with a feature that is NaN or not below `largest` is left out and counted. `GramSums`
    reads the total. No weights, slices or replicates: a metric with it takes none.
    """

    values: Any
    largest: float

    BITS: ClassVar[int] = 22
    BLOCK: ClassVar[int] = 512


@dataclass(frozen=True)
class GramSums:
    """What a `Gram` adds up to, in units of `largest` 2^-22 for sums and its square for products; exact integers.

    Attributes:
      examples, refused: how many were summed, and how many left out.
      upper: low and high part of the upper triangle of [x, 1]^T [x, 1], row by row, int64 [2, (D + 1) (D + 2) / 2].
      features: D.
    """

    examples: int
    refused: int
    upper: np.ndarray
    features: int

    @classmethod
    def of(cls, raw: np.ndarray) -> GramSums:
        """Read a total, int64 [(D + 1) (D + 2) + 1]."""
        upper = raw[:-1].reshape(2, -1)
        examples = int(upper[0, -1]) + (int(upper[1, -1]) << 32)
        return cls(examples, int(raw[-1]), upper, (math.isqrt(8 * upper.shape[1] + 1) - 1) // 2 - 1)

    def row(self, number: int) -> np.ndarray:
        """Return row i of the matrix from the diagonal on: products with x_i, ..., x_D, then the sum of x_i; object ints."""
        width = self.features + 1
        start = number * width - number * (number - 1) // 2
        low, high = self.upper[:, start : start + width - number].astype(object)
        row: np.ndarray = low + high * (1 << 32)
        return row


Term = Number | Count | Rows | Gram

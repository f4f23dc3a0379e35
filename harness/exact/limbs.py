"""Exact sums of float64 numbers as int64 limbs. Pure NumPy; knows nothing of metrics, ranks or TensorFlow.

A number is rounded once to a grid of 2^-128 (ties to even) and written in base 2^32:

    x = sum_k limb[k] * 2^(32 k - 128),   k = 0 .. 8

The limbs of many numbers add up in int64 in any order and grouping, so their sum has the same bits however the
work was shared out. Nine limbs hold a sum of 2^63 numbers below 2^128. A cell is the nine limbs and two counts: how many
numbers were refused, because they were NaN, infinite, or not below 2^128; and how many were rounded, because they did not lie
on the grid. Of each of these the sum may miss 2^-129, of all others nothing.

Headroom: a limb of one number is at most 2^32 in absolute value, so 2^30 numbers can be added before a carry is
due; `carry` brings every limb but the last back into [0, 2^32). Whoever adds counts additions and carries in time:
`additions` says how often something that adds so many numbers to one cell can be added.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

__all__ = [
    "CELL", "DIVISOR_BITS", "EXACT", "GRID_BITS", "HEADROOM", "LIMBS", "LIMB_BITS", "SCALES", "additions", "carry", "divide",
    "refused", "rounded", "to_cells", "to_fraction",
]  # fmt: skip

LIMB_BITS = 32
LIMBS = 9
GRID_BITS = 128
CELL = LIMBS + 2  # the limbs, then the counts of refused and of rounded numbers
DIVISOR_BITS = 31  # of what `divide` divides by
HEADROOM = 1 << 30  # numbers that can be added to a cell before it is carried
EXACT = 2.0 ** (53 - GRID_BITS)  # a float64 number of this size or more lies on the grid

# Multiplying by SCALES[k] moves limb k to the units place; the powers of two make it exact.
SCALES = np.array([2.0 ** (GRID_BITS - LIMB_BITS * k) for k in range(LIMBS + 1)])


def to_cells(values: np.ndarray) -> np.ndarray:
    """Write float64 numbers as cells.

    Args:
      values: float64 [...].
    Returns: int64 [..., CELL].

    >>> to_cells(np.array([1.0]))[0].tolist()
    [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    >>> to_cells(np.array([np.nan, -2.0, 1e-50]))[:, [4, 9, 10]].tolist()
    [[0, 1, 0], [-2, 0, 0], [0, 0, 1]]
    """
    values = np.asarray(values, np.float64)
    good = np.abs(values) < 2.0**GRID_BITS  # False for NaN as well
    scaled = np.where(good, values, 0.0)[..., None] * SCALES
    whole = np.trunc(scaled)
    whole[..., 0] = np.rint(scaled[..., 0])
    # Exact: what is left is the part of a 53-bit mantissa that lies below the next limb.
    limbs = whole[..., :-1] - whole[..., 1:] * 2.0**LIMB_BITS
    off = whole[..., 0] != scaled[..., 0]
    return np.concatenate([limbs.astype(np.int64), ~good[..., None], off[..., None]], axis=-1).astype(np.int64)


def additions(numbers: int) -> int:
    """Return how often a sum of so many numbers can be added to one cell before the cell is carried; 0: not once.

    A limb that has been carried is below 2^32: what is added then stays below 2^62 + 2^32.

    >>> additions(4096), additions(HEADROOM), additions(HEADROOM + 1)
    (262144, 1, 0)
    """
    return HEADROOM // max(numbers, 1)


def carry(cells: np.ndarray) -> np.ndarray:
    """Bring every limb but the last into [0, 2^32); the value stays the same.

    Args:
      cells: int64 [..., CELL].
    Returns: int64 [..., CELL].

    >>> carry(to_cells(np.array([-1.0])))[0].tolist()
    [0, 0, 0, 0, 4294967295, 4294967295, 4294967295, 4294967295, -1, 0, 0]
    """
    out = np.array(cells, np.int64)
    for k in range(LIMBS - 1):
        over = out[..., k] >> LIMB_BITS
        out[..., k] -= over << LIMB_BITS
        out[..., k + 1] += over
    return out


def to_fraction(cell: np.ndarray) -> Fraction:
    """Return the exact value of one cell, int64 [CELL].

    >>> to_fraction(to_cells(np.array([0.1, 0.2])).sum(axis=0)) == Fraction(0.1) + Fraction(0.2)
    True
    """
    total = sum(int(limb) << (LIMB_BITS * k) for k, limb in enumerate(cell[:LIMBS]))
    return Fraction(total, 1 << GRID_BITS)


def divide(cells: np.ndarray, divisors: np.ndarray) -> np.ndarray:
    """Divide the values of many cells by integers, each quotient rounded once to the nearest float64 (ties to even).

    Long division in base 2^32, three digits past the grid: a quotient other than zero is at least 2^-159, so that 64
    bits of it are there, and whether anything is left tells how they are rounded.

    Args:
      cells: int64 [n, CELL].
      divisors: int64 [n], in [1, 2^31).
    Returns: float64 [n].

    >>> divide(to_cells(np.array([1.0, -0.1])), np.array([3, 1])).tolist() == [1 / 3, -0.1]
    True
    """
    carried = carry(cells)
    negative = carried[:, LIMBS - 1] < 0
    size = carry(np.where(negative[:, None], -carried, carried))[:, :LIMBS].astype(np.uint64)
    half, mask = np.uint64(LIMB_BITS), np.uint64((1 << LIMB_BITS) - 1)
    # From the highest digit on; the last limb may hold two.
    digits = [size[:, -1] >> half, size[:, -1] & mask, *size[:, -2::-1].T, *np.zeros((3, len(size)), np.uint64)]
    below, rest = divisors.astype(np.uint64), np.zeros(len(size), np.uint64)
    quotient = np.empty((len(digits) + 2, len(size)), np.uint64)
    for place, digit in enumerate(digits):
        dividend = (rest << half) | digit
        quotient[place] = dividend // below
        rest = dividend - quotient[place] * below
    quotient[-2:] = 0
    nonzero_from = np.bitwise_or.accumulate(quotient[::-1], axis=0)[::-1]  # from each place on
    top, at = np.argmax(quotient != 0, axis=0), np.arange(len(size))
    first, second, third = (quotient[top + k, at] for k in range(3))
    shift = np.uint64(LIMB_BITS) - np.frexp(first.astype(np.float64))[1].astype(np.uint64)
    word = (((first << half) | second) << shift) | (third >> (half - shift))
    sticky = ((third & ((np.uint64(1) << (half - shift)) - np.uint64(1))) != 0) | (rest != 0)
    sticky |= nonzero_from[np.minimum(top + 3, len(quotient) - 1), at] != 0
    exponent = LIMB_BITS * (len(digits) - 2 - top) - (GRID_BITS + 3 * LIMB_BITS) - shift.astype(np.int64)
    rounded = np.ldexp((word | sticky.astype(np.uint64)).astype(np.float64), exponent)
    return np.where(negative, -rounded, rounded)


def refused(cells: np.ndarray) -> np.ndarray:
    """Return how many numbers each cell refused, int64 [...]."""
    return cells[..., LIMBS]


def rounded(cells: np.ndarray) -> np.ndarray:
    """Return how many numbers of each cell did not lie on the grid, int64 [...]."""
    return cells[..., LIMBS + 1]

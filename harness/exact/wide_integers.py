"""Integer arithmetic that may pass 64 bits: sums, products and prefix sums of int64 columns. Pure NumPy and Python.

Columns stay int64 while their bounds say that nothing can overflow, and become columns of Python integers (dtype
object, some ten times slower, never wrong) where they do not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["LIMIT", "cumulative", "dot", "largest", "multiply", "total"]

LIMIT = 1 << 63
BLOCK = 1 << 20  # rows handled at once, so that temporaries stay small


def total(column: np.ndarray) -> int:
    """Add up a column, int64 or object [n], exactly.

    >>> total(np.full(4, 2**62))
    18446744073709551616
    """
    result = 0
    for at in _blocks(len(column)):
        block = column[at]
        fits = block.dtype != object and largest(block) * len(block) < LIMIT
        result += int(block.sum(dtype=np.int64)) if fits else int(sum(block.tolist()))
    return result


def dot(left: np.ndarray, right: np.ndarray) -> int:
    """Add up the products of two columns, int64 or object [n], exactly.

    >>> dot(np.array([2**40, 1]), np.array([2**40, 5])) == 2**80 + 5
    True
    """
    result = 0
    for at in _blocks(len(left)):
        a, b = left[at], right[at]
        fits = object not in (a.dtype, b.dtype) and largest(a) * largest(b) * len(a) < LIMIT
        # dot of object columns multiplies and adds Python integers
        result += int(np.dot(a.astype(np.int64), b.astype(np.int64)) if fits else np.dot(a.astype(object), b.astype(object)))
    return result


def multiply(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Multiply two columns row by row: int64 [n] where every product fits, else object [n].

    >>> multiply(np.array([2**40]), np.array([2**40])).tolist() == [2**80]
    True
    """
    if object not in (left.dtype, right.dtype) and largest(left) * largest(right) < LIMIT:
        return left.astype(np.int64) * right.astype(np.int64)
    product: np.ndarray = left.astype(object) * right.astype(object)
    return product


def cumulative(column: np.ndarray, start: int = 0) -> np.ndarray:
    """Return the inclusive prefix sums of a column of numbers >= 0, on top of `start`: int64 [n], or object [n].

    >>> cumulative(np.array([1, 2, 3]), 10).tolist()
    [11, 13, 16]
    >>> cumulative(np.array([2**62, 2**62])).tolist() == [2**62, 2**63]
    True
    """
    if column.dtype != object and start + total(column) < LIMIT:
        sums = np.cumsum(column, dtype=np.int64)
        sums += start
        return sums
    if not len(column):
        return np.zeros(0, np.int64)
    wide: np.ndarray = np.cumsum(column.astype(object)) + start
    return wide


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(n, start + BLOCK)) for start in range(0, n, BLOCK))


def largest(column: np.ndarray) -> int:
    """Return the largest absolute value of an integer column, 0 of an empty one.

    >>> largest(np.array([-(2**63)])) == 2**63
    True
    """
    return max(abs(int(column.max())), abs(int(column.min()))) if len(column) else 0

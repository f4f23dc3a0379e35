"""What the header of a NumPy array in a file says, and whether it can be so. Reads no array."""

from __future__ import annotations

import math
import tokenize
from dataclasses import dataclass
from typing import IO

import numpy as np

from harness.errors import DataError

__all__ = ["Header", "check_dtype", "dtype_name", "read_header"]

BROKEN = (ValueError, KeyError, EOFError, TypeError, SyntaxError, RecursionError, tokenize.TokenError)  # of NumPy's own parser
WIDEST = {"f": 8, "c": 16}  # bytes of a number that TensorFlow has


@dataclass(frozen=True)
class Header:
    """How an array lies in a file.

    Attributes:
      offset: of its first byte.
      fortran: whether it lies by columns.
    """

    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool

    @property
    def end(self) -> int:
        """Offset of the first byte after the array: of any size, for a header may say what it likes."""
        return self.offset + self.dtype.itemsize * math.prod(self.shape)


def read_header(stream: IO[bytes], path: str, member: str = "") -> Header:
    """Read a header where a stream stands.

    Args:
      member: of an archive, for messages.
    Raises: DataError: it is none, or says what cannot be.
    """
    where = f"{path}: array '{member}'" if member else path
    reading = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = reading[version](stream)
    except BROKEN as exc:
        raise DataError(f"{where}: not a readable .npy file (numpy.save writes them): {exc}") from exc
    if not all(type(size) is int and size >= 0 for size in shape):
        raise DataError(f"{where}: expected a shape of whole numbers from 0 on, found {shape}; write it again with numpy.save")
    if dtype.hasobject:
        raise DataError(
            f"{where}: expected numbers or strings of fixed length, found Python objects, which would run code when read"
        )
    return Header(stream.tell(), dtype, shape, fortran)


def dtype_name(dtype: np.dtype) -> str:
    """Return what a feature calls its dtype: a name that NumPy understands.

    >>> dtype_name(np.dtype("<U3")), dtype_name(np.dtype(">f4")), dtype_name(np.dtype([("a", "f8")]))
    ('string', 'float32', 'void')
    """
    if dtype.kind in "OSU":
        return "string"
    return "void" if dtype.kind == "V" else dtype.name


def check_dtype(path: str, name: str, dtype: np.dtype) -> None:
    """See that tensors can be made of an array.

    Raises: DataError: they cannot.
    """
    if dtype.kind not in "biufcOSU" or dtype.itemsize > WIDEST.get(dtype.kind, dtype.itemsize):
        kind = f"records of {', '.join(dtype.names)}" if dtype.names else dtype.name
        advice = "write each field as an array of its own" if dtype.names else "convert it, to float64 or int64 for example"
        raise DataError(f"{path}: array '{name}': expected numbers or strings, found {kind}, which TensorFlow has not; {advice}")

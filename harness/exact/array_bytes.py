"""What an array holds, as bytes to be hashed: of strings their contents, not the pointers that NumPy keeps. NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["array_bytes"]

LENGTH_BYTES = 8


def array_bytes(value: Any) -> bytes:
    """Return the contents of an array in row-major order, the same in every process that holds the same values.

    Args:
      value: an array of numbers or strings, or what `tf.Tensor.numpy` makes of a scalar string, which is bytes.
    Returns: the bytes of numbers as they lie; of each string its length (8 bytes, little endian) and its bytes.

    >>> array_bytes(np.array([1, 2], np.uint8)), array_bytes(np.array([b"ab", b""], object)).replace(bytes(7), b"..")
    (b'\\x01\\x02', b'\\x02..ab..\\x00')
    """
    if isinstance(value, str | bytes):
        return _of_strings([value])
    array = np.asarray(value)
    if array.dtype.kind == "O":
        return _of_strings(array.ravel().tolist())
    return array.tobytes()


def _of_strings(strings: list[str | bytes]) -> bytes:
    encoded = [text.encode() if isinstance(text, str) else text for text in strings]
    return b"".join(len(text).to_bytes(LENGTH_BYTES, "little") + text for text in encoded)

"""The content hash: what was read of some examples as one number, so that other data under the same names and sizes are seen.

Of each example the bytes that were read become a word of 64 bits, the word and the example id one hash, and hashes add up
mod 2^64: the sum depends on the examples alone, not on batches, chunks, ranks or their order. It tells data that were
changed by accident, as a CRC does; it is no signature against somebody who wants it to match. Knows no TensorFlow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

import google_crc32c
import numpy as np

from harness.data.source import BAD, Records
from harness.exact.splitmix import hash_ids

__all__ = ["ContentHash", "signed"]

BLOCK = 1 << 15  # examples hashed at a time: temporaries stay in the cache
WORD_BYTES = 4
FEW_WORDS = 4  # of an example: as single numbers have, for which `einsum` takes longer


class ContentHash:
    """Hashes what records hold.

    A record that brings a word of its own (the CRC of a TFRecord) is hashed by that. Of others each wanted column is
    taken as 32-bit words, and their products with odd 64-bit constants are added up (multilinear hashing; D. Lemire and
    O. Kaser, Strongly universal string hashing is fast, 2014): one pass, 7 GB/s. Strings go by their CRC-32C.

    Args:
      names: of the raw tensors that count, beside the mark of bad records; None is all.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self.names = None if names is None else frozenset(names)
        self._factors: dict[tuple[str, str], np.ndarray] = {}

    def of(self, records: Records) -> int:
        """Return the sum of the hashes of some examples, not yet mod 2^64."""
        total = 0
        for start in range(0, len(records.ids), BLOCK):
            block = slice(start, start + BLOCK)
            if records.words is not None:
                words = records.words[block]
            else:
                words = self.words({name: array[block] for name, array in records.raw.items()}, len(records.ids[block]))
            total += int(hash_ids(hash_ids(records.ids[block]) ^ words).sum(dtype=np.uint64))
        return total

    def words(self, raw: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """Return a word for each example.

        Args:
          raw: [count, ...] by name.
          count: how many examples there are.
        Returns: uint64 [count].

        >>> a, b = ContentHash().words({"x": np.float32([[1, 2], [1, -2]])}, 2).tolist()
        >>> a == b, ContentHash().words({"y": np.float32([[1, 2]])}, 1)[0] == a, ContentHash(["y"]).words({"x": np.ones(1)}, 1)
        (False, np.False_, array([0], dtype=uint64))
        """
        total = np.zeros(count, np.uint64)
        for name, array in raw.items():
            if not count or (self.names is not None and name not in self.names and name != BAD):
                continue
            if array.dtype.kind in "OSU":
                parts, kind = _crcs(array), "string"
            else:
                parts, kind = _as_words(array), array.dtype.str
            factors = self._factors_of(name, kind, parts.shape[1])
            if len(factors) > FEW_WORDS:
                total += np.einsum("ij,j->i", parts, factors)
            else:
                for number, factor in enumerate(factors):
                    total += parts[:, number] * factor
        return total

    def _factors_of(self, name: str, kind: str, size: int) -> np.ndarray:
        """Return the constants of a column, odd uint64 [size]: other columns have others."""
        factors = self._factors.get((name, kind))
        if factors is None or len(factors) < size:
            seed = int.from_bytes(hashlib.sha256(f"{name}\0{kind}".encode()).digest()[:8], "little")
            factors = hash_ids(np.arange(size, dtype=np.uint64) + np.uint64(seed)) | np.uint64(1)
            self._factors[name, kind] = factors
        return factors[:size]


def signed(total: int) -> int:
    """Return a sum of hashes mod 2^64, as a signed 64-bit integer.

    >>> signed(2**64 + 5), signed(2**64 - 1)
    (5, -1)
    """
    return (total + 2**63) % 2**64 - 2**63


def _as_words(array: np.ndarray) -> np.ndarray:
    """Return the bytes of each example as words, uint32 [n, words], filled up with zeros.

    >>> _as_words(np.uint8([[1, 0, 0, 0, 2]])).tolist()
    [[1, 2]]
    """
    count = len(array)
    row_bytes = array.nbytes // count
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(count, row_bytes)
    if missing := -row_bytes % WORD_BYTES:
        raw = np.pad(raw, [(0, 0), (0, missing)])
    return raw.view("<u4")


def _crcs(array: np.ndarray) -> np.ndarray:
    """Return the CRC-32C of each string, uint32 [n, strings an example]; the width of fixed-width arrays plays no part."""
    strings: Sequence[str | bytes] = array.ravel().tolist()
    data = (text.encode() if isinstance(text, str) else text for text in strings)
    return np.fromiter(map(google_crc32c.value, data), np.uint32, len(strings)).reshape(len(array), -1)

"""The index of all files of a job in one file, which the ranks of a node map: each of its pages is in memory once a node.

The file is named by the digest of its content, so that it serves every run over the same files and nobody writes to it
again. It is believed where its content has that digest. Knows no ranks.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from harness.data import pass_cache, private_folder
from harness.data.record_index import RecordIndex
from harness.errors import DataError
from harness.names.scratch import scratch_name

__all__ = ["BLOCK_BYTES", "SharedIndex", "blocks", "describe", "folders", "restore"]

BLOCK_BYTES = 1 << 22  # in memory at a time
NUMBER_BYTES = 8


@dataclass(frozen=True)
class SharedIndex:
    """What tells one index from another.

    Attributes:
      digest: SHA-256 of its bytes, in hexadecimal: the name of its file.
      size_bytes: of its numbers.
    """

    digest: str
    size_bytes: int

    @classmethod
    def of(cls, arrays: Sequence[np.ndarray]) -> SharedIndex:
        """Return what tells the index that some arrays make up, int64 [n] each.

        >>> SharedIndex.of([np.arange(2), np.arange(3)]) == SharedIndex.of([np.array([0, 1, 0, 1, 2])])
        True
        """
        digest = hashlib.sha256()
        for block in blocks(arrays):
            digest.update(block)
        return cls(digest.hexdigest(), sum(len(array) for array in arrays) * NUMBER_BYTES)

    def load(self) -> np.ndarray | None:
        """Map the file, int64 [n], read-only; None where it is not here, or holds something else."""
        return next((numbers for folder in folders() if (numbers := self._map(folder)) is not None), None)

    def store(self, content: Iterable[bytes], places: Sequence[Path]) -> None:
        """Keep the index in a file, for this user alone.

        Args:
          content: its bytes, in blocks; not all of them are taken where a disk fails.
          places: folders; it is kept in the first that can be written.
        """
        for folder in places:
            # A cache that cannot be written costs memory, nothing else.
            with contextlib.suppress(OSError):
                private_folder.make(folder)
                if private_folder.intruders(folder, folder):
                    continue
                temporary = scratch_name(self._place(folder))
                try:
                    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                        os.posix_fallocate(stream.fileno(), 0, self.size_bytes)  # a full disk fails before a block is taken
                        stream.writelines(content)
                    self._commit(temporary, folder)
                finally:
                    temporary.unlink(missing_ok=True)
                return

    def _place(self, folder: Path) -> Path:
        return folder / f"{self.digest}.index"

    def _map(self, folder: Path) -> np.ndarray | None:
        place = self._place(folder)
        with contextlib.suppress(OSError, ValueError):  # not there, or no whole number of integers
            if private_folder.intruders(place, folder):
                return None
            numbers: np.ndarray = np.memmap(place, "<i8", "r").view(np.ndarray)
            return numbers if SharedIndex.of([numbers]) == self else None
        return None

    def _commit(self, temporary: Path, folder: Path) -> None:
        """Give a file its name. One that is there and whole stays, for other runs may have mapped it.

        On a network file system a mapped file that another host replaces can no longer be read.
        """
        place = self._place(folder)
        try:
            os.link(temporary, place)
        except FileExistsError:
            if self._map(folder) is None:
                os.replace(temporary, place)
        except OSError:  # a file system without links
            os.replace(temporary, place)


def folders() -> list[Path]:
    """Return where an index may lie: in the cache, or in this node's temporary folder."""
    places = []
    for place in (pass_cache.cache_folder, private_folder.of_node):
        with contextlib.suppress(OSError, RuntimeError):  # neither home nor temporary folder
            places.append(place())
    return places


def blocks(arrays: Iterable[np.ndarray]) -> Iterator[bytes]:
    """Yield the bytes of some arrays, int64 [n] each, in blocks of BLOCK_BYTES, the last one shorter."""
    held = bytearray()
    step = BLOCK_BYTES // NUMBER_BYTES
    for array in arrays:
        for at in range(0, len(array), step):
            held += array[at : at + step].astype("<i8", copy=False).tobytes()
            if len(held) >= BLOCK_BYTES:
                yield bytes(held[:BLOCK_BYTES])
                del held[:BLOCK_BYTES]
    if held:
        yield bytes(held)


def describe(item: Any) -> tuple[bytes, list[np.ndarray]]:
    """Pickle an object without the record indices in it.

    Returns: the pickle, which says where in their numbers each index lies; and the numbers, int64 [n] each.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(item)
    return stream.getvalue(), pickler.arrays


def restore(data: bytes, numbers: np.ndarray) -> Any:
    """Return what `describe` pickled on rank 0 of the same job.

    Args:
      numbers: of all indices, one after the other, int64 [n].
    Raises: DataError: an index lies outside of them.
    """
    return _Unpickler(io.BytesIO(data), numbers).load()


class _Pickler(pickle.Pickler):
    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self.arrays: list[np.ndarray] = []
        self._size = 0

    def persistent_id(self, obj: Any) -> tuple[int, int] | None:
        """Return where the numbers of an index lie; None for anything else, which is pickled."""
        if not isinstance(obj, RecordIndex):
            return None
        start = self._size
        self.arrays += [obj.records, obj.offsets]
        self._size += len(obj.records) + len(obj.offsets)
        return start, self._size


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], numbers: np.ndarray) -> None:
        super().__init__(stream)
        self._numbers = numbers

    def persistent_load(self, pid: tuple[int, int]) -> RecordIndex:
        """Return the index whose numbers lie there."""
        start, stop = pid
        if not 0 <= start < stop <= len(self._numbers) or (stop - start) % 2:
            raise DataError(f"expected the numbers of an index at {start} to {stop}, found {len(self._numbers)} of all indices")
        return RecordIndex.unpack(self._numbers[start:stop])

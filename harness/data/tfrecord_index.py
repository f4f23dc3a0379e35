"""Where the records of TFRecord files begin: read from the index beside a file or from the cache, or found by one pass."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.data import storage, tfrecord_packed
from harness.data.pass_cache import cached
from harness.data.range_file import open_range
from harness.data.record_index import RecordIndex
from harness.data.tfrecord_framing import FOOTER, HEADER, cut_off, data_length
from harness.errors import DataError
from harness.names.scratch import scratch_name
from harness.plan.plan import File

__all__ = ["build_index", "count_records", "index_path", "write_index"]

SCAN = 1 << 22  # bytes looked at a time


def count_records(path: str) -> tuple[File, RecordIndex | None, bool]:
    """Count the records of a file, and find them where it is plain.

    Returns: the file, the index (None of a packed file), and whether the index lay beside the file.
    Raises: DataError: the file is cut off, or is no TFRecord file.
    """
    size = storage.size_bytes(path)
    if tfrecord_packed.is_packed(path):
        count = cached(path, "tfrecord packed", lambda: np.array([sum(1 for _ in tfrecord_packed.records(path))], np.int64))
        return File(path, size, int(count[0]), divisible=False), None, False
    offsets = None if storage.is_url(path) else _read_index(path, size)
    if offsets is not None:
        index = RecordIndex.of(offsets)
    else:
        index = RecordIndex.unpack(cached(path, "tfrecord thinned", lambda: RecordIndex.of(build_index(path)).pack()))
    return File(path, size, index.count), index, offsets is not None


def build_index(path: str) -> np.ndarray:
    """Find where the records of a plain TFRecord file begin.

    Returns: byte offset of every record, and the file's size: int64 [records + 1].
    Raises: DataError: the file is cut off, or a length is corrupt.
    """
    offsets = array("q")  # eight bytes a record, not the forty of a list
    at = 0
    with open_range(path) as file:
        size, base, block = file.size, 0, b""
        while at < size:
            offsets.append(at)
            if at + HEADER > size:
                raise cut_off(_where(path, offsets), HEADER, size - at)
            if at + HEADER > base + len(block):
                base, block = at, file.read(at, at + SCAN)
            length = data_length(block, at - base)
            if length is None:
                hint = "is it a TFRecord file?" if at == 0 else "copy or write the file again"
                raise DataError(f"{_where(path, offsets)}: the CRC of its length is wrong; {hint}")
            at += HEADER + length + FOOTER
        if at > size:
            raise cut_off(_where(path, offsets), at - offsets[-1], size - offsets[-1])
    offsets.append(size)
    return np.frombuffer(offsets, np.int64)


def _where(path: str, offsets: Sequence[int]) -> str:
    return f"{path}, record {len(offsets) - 1} at byte {offsets[-1]}"


def index_path(path: str) -> str:
    """Return where the index of a file lies: beside it, named as NVIDIA DALI's tfrecord2idx is used to."""
    return path + ".idx"


def write_index(path: str) -> int:
    """Write the index of a file beside it, one line "offset size" per record; return how many records there are.

    Raises: DataError: see `build_index`; also for a GZIP file, which has no offsets.
    """
    if tfrecord_packed.is_packed(path):
        raise DataError(f"{path}: a GZIP file cannot be cut and so has no index; it is read as one chunk")
    offsets = build_index(path)
    temporary = scratch_name(Path(index_path(path)))
    with open(temporary, "w") as stream:
        stream.writelines(f"{a} {b - a}\n" for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, index_path(path))
    return len(offsets) - 1


def _read_index(path: str, size: int) -> np.ndarray | None:
    """Return the index that lies beside a file, or None where there is none that fits it."""
    try:
        if os.path.getmtime(index_path(path)) < os.path.getmtime(path):
            return None
        if not size:
            return np.zeros(1, np.int64)
        if not os.path.getsize(index_path(path)):
            return None
        pairs = np.loadtxt(index_path(path), dtype=np.int64, ndmin=2)
    except (OSError, ValueError):
        return None
    offsets = np.append(pairs[:, 0], size)
    fits = pairs.shape[1] == 2 and offsets[0] == 0 and np.array_equal(np.diff(offsets), pairs[:, 1])
    return offsets if fits else None

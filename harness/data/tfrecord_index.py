"""Where the records of TFRecord files begin: read from the index beside a file or from the cache, or found by one pass."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice, pairwise
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

__all__ = ["count_records", "index_path", "scan", "write_index"]

SCAN = 1 << 22  # bytes looked at a time
LINES = 1 << 16  # of an index beside a file, read at a time


def count_records(path: str) -> tuple[File, RecordIndex | None, bool]:
    """Count the records of a file, and find them where it is plain.

    Returns: the file, the index (None of a packed file), and whether the index lay beside the file.
    Raises: DataError: the file is cut off, or is no TFRecord file.
    """
    size = storage.size_bytes(path)
    if tfrecord_packed.is_packed(path):
        count = cached(path, "tfrecord packed", lambda: np.array([sum(1 for _ in tfrecord_packed.records(path))], np.int64))
        return File(path, size, int(count[0]), divisible=False), None, False
    beside = None if storage.is_url(path) else _read_index(path, size)
    index = beside or RecordIndex.unpack(cached(path, "tfrecord thinned", lambda: RecordIndex.of(scan(path)).pack()))
    return File(path, size, index.count), index, beside is not None


def scan(path: str) -> Iterator[np.ndarray]:
    """Find where the records of a plain TFRecord file begin.

    Returns: byte offset of every record, and the file's size last, int64; in blocks, for there may be billions.
    Raises: DataError: the file is cut off, or a length is corrupt.
    """
    count, at = 0, 0
    with open_range(path) as file:
        size = file.size
        while at < size:
            base, block = at, file.read(at, at + SCAN)
            offsets = array("q")  # eight bytes a record, not the forty of a list
            while at < size and at + HEADER <= base + len(block):
                length = data_length(block, at - base)
                if length is None:
                    hint = "is it a TFRecord file?" if at == 0 else "copy or write the file again"
                    raise DataError(f"{_where(path, count + len(offsets), at)}: the CRC of its length is wrong; {hint}")
                offsets.append(at)
                at += HEADER + length + FOOTER
            if at > size:
                last = offsets[-1]
                raise cut_off(_where(path, count + len(offsets) - 1, last), at - last, size - last)
            if not offsets:
                raise cut_off(_where(path, count, at), HEADER, size - at)
            count += len(offsets)
            yield np.frombuffer(offsets, np.int64)
    yield np.array([size])


def _where(path: str, record: int, at: int) -> str:
    return f"{path}, record {record} at byte {at}"


def index_path(path: str) -> str:
    """Return where the index of a file lies: beside it, named as NVIDIA DALI's tfrecord2idx is used to."""
    return path + ".idx"


def write_index(path: str) -> int:
    """Write the index of a file beside it, one line "offset size" per record; return how many records there are.

    Raises: DataError: see `build_index`; also for a GZIP file, which has no offsets.
    """
    if tfrecord_packed.is_packed(path):
        raise DataError(f"{path}: a GZIP file cannot be cut and so has no index; it is read as one chunk")
    temporary = scratch_name(Path(index_path(path)))
    records = 0
    try:
        with open(temporary, "w") as stream:
            for begin, end in pairwise(chain.from_iterable(block.tolist() for block in scan(path))):
                stream.write(f"{begin} {end - begin}\n")
                records += 1
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, index_path(path))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return records


def _read_index(path: str, size: int) -> RecordIndex | None:
    """Return the index that lies beside a file, or None where there is none that fits it."""
    try:
        if os.path.getmtime(index_path(path)) < os.path.getmtime(path):
            return None
        with open(index_path(path)) as stream:
            return RecordIndex.of(_offsets(stream, size))
    except (OSError, ValueError):
        return None


def _offsets(lines: Iterable[str], size: int) -> Iterator[np.ndarray]:
    """Read the lines of an index, "offset size" each, as `scan` finds them.

    Raises: ValueError: they are not those of a file of that size.
    """
    end, stream = 0, (line for line in lines if not line.isspace())
    while block := list(islice(stream, LINES)):
        begins, sizes = np.loadtxt(block, dtype=np.int64, ndmin=2).T
        ends = begins + sizes  # wraps, where a number is too large to be an offset
        if (sizes < HEADER + FOOTER).any() or (ends <= begins).any() or not np.array_equal(begins, [end, *ends[:-1]]):
            raise ValueError("records do not follow each other")
        end = int(ends[-1])
        yield begins
    if end != size:
        raise ValueError("the file has another size")
    yield np.array([size])

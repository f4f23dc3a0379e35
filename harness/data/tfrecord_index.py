"""Where the records of TFRecord files begin: read from the index beside a file or from the cache, or found by one pass."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np

from harness.data import storage, tfrecord_packed
from harness.data.counting import FileCount, FilePass, Moved, Span, nothing_moved
from harness.data.pass_cache import Entry
from harness.data.range_file import RangeFile, open_range
from harness.data.record_index import RecordIndex
from harness.data.tfrecord_framing import FOOTER, HEADER, cut_off, data_length, first_header
from harness.errors import DataError
from harness.names.scratch import scratch_name
from harness.plan.plan import File

__all__ = ["PackedPass", "TFRecordPass", "index_of", "index_path", "look", "scan", "write_index"]

SCAN = 1 << 22  # bytes looked at a time
LINES = 1 << 16  # of an index beside a file, read at a time


@dataclass(frozen=True)
class TFRecordPass(FilePass):
    """A pass over a plain file: its lengths lead from record to record.

    Nothing in a piece says for sure where its first record begins: a length with its CRC is looked for. `join` believes
    it where the piece before ends there, as it does but for one in 2^32 bytes; else the piece is gone through again.
    """

    divisible: bool = True

    @property
    def kind(self) -> str:
        """Some records of each file."""
        return "tfrecord thinned"

    def scan(self, span: Span, moved: Moved = nothing_moved) -> np.ndarray | None:
        """Find where the records of a piece begin; None where that cannot be said without what lies before it."""
        start, stop = span
        if not start:
            return RecordIndex.of(scan(self.path, stop=stop, moved=moved)).pack()
        with open_range(self.path) as file:
            first = _first_record(file, start, stop)
        if first is None:
            return None
        try:
            return RecordIndex.of(scan(self.path, start=first, stop=stop, moved=moved)).pack()
        except DataError:
            return None  # with the number of the record it is said when the piece is gone through again

    def join(self, parts: Sequence[np.ndarray | None]) -> np.ndarray:
        """Chain the pieces: each begins where the one before ends."""
        indices: list[RecordIndex] = []
        count = at = 0
        for (start, stop), part in zip(self.spans, parts, strict=True):
            if start and at >= stop:
                continue  # within one long record
            index = None if part is None else RecordIndex.unpack(part)
            if index is None or index.offsets[0] != at:
                index = RecordIndex.of(scan(self.path, start=at, stop=stop, record=count))
            indices.append(index)
            count, at = count + index.count, int(index.offsets[-1])
        return RecordIndex.chained(indices).pack()


@dataclass(frozen=True)
class PackedPass(FilePass):
    """A pass over a GZIP or ZLIB file: how many records it has."""

    divisible: bool = False

    @property
    def kind(self) -> str:
        """A count."""
        return "tfrecord packed"

    def scan(self, span: Span, moved: Moved = nothing_moved) -> np.ndarray:
        """Count the records."""
        del span
        records = sum(1 for _ in tfrecord_packed.records(self.path))
        moved(self.size_bytes)
        return np.array([records], np.int64)

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """Return the count."""
        return parts[0]


def look(path: str) -> FileCount:
    """Say how a file is counted, and what is known of it: from an index beside it, or from the cache.

    Raises: DataError: it cannot be read.
    """
    size = storage.size_bytes(path)
    if tfrecord_packed.is_packed(path):
        return FileCount.look(PackedPass(path, size))
    way = TFRecordPass(path, size)
    beside = None if storage.is_url(path) else _read_index(path, size)
    if beside is not None:
        return FileCount(way, Entry(None), beside.pack(), beside=True)
    return FileCount.look(way)


def index_of(count: FileCount) -> tuple[File, RecordIndex | None]:
    """Return a file that is counted, and where its records begin: None of a packed one."""
    way = count.way
    if not way.divisible:
        return File(way.path, way.size_bytes, int(count.found[0]), divisible=False), None
    index = RecordIndex.unpack(count.found)
    return File(way.path, way.size_bytes, index.count), index


def scan(
    path: str, *, start: int = 0, stop: int | None = None, record: int = 0, moved: Moved = nothing_moved
) -> Iterator[np.ndarray]:
    """Find where the records of a plain TFRecord file begin.

    Args:
      start, record: where to begin: a record's first byte and its number, which is for messages.
      stop: the first byte of the records that are left out; None for the end of the file.
    Returns: byte offset of every record, and the end of the last one, int64; in blocks, for there may be billions.
    Raises: DataError: the file is cut off, or a length is corrupt.
    """
    count, at = record, start
    with open_range(path) as file:
        size = file.size
        stop = size if stop is None else stop
        while at < stop:
            base, block = at, file.read(at, at + SCAN)
            last = min(stop, base + len(block) - HEADER + 1)
            offsets = array("q")  # eight bytes a record, not the forty of a list
            while at < last:
                length = data_length(block, at - base)
                if length is None:
                    hint = "is it a TFRecord file?" if at == 0 else "copy or write the file again"
                    raise DataError(f"{_where(path, count + len(offsets), at)}: the CRC of its length is wrong; {hint}")
                offsets.append(at)
                at += HEADER + length + FOOTER
            if at > size and not offsets:
                raise DataError(f"{path} has become shorter while it was counted; start again when nobody writes to it")
            if at > size:
                place = offsets[-1]
                raise cut_off(_where(path, count + len(offsets) - 1, place), at - place, size - place)
            if not offsets:
                raise cut_off(_where(path, count, at), HEADER, size - at)
            count += len(offsets)
            moved(min(at, stop) - base)
            yield np.frombuffer(offsets, np.int64)
    yield np.array([at])


def _first_record(file: RangeFile, start: int, stop: int) -> int | None:
    """Return the first byte from `start` on where a record seems to begin: a length that fits the file, and its CRC."""
    for base in range(start, stop, SCAN):
        block = file.read(base, min(base + SCAN, stop) + HEADER - 1)
        found = first_header(block, file.size - base)
        if found is not None:
            return base + found
    return None


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
    except OSError as exc:
        raise DataError(f"{index_path(path)}: cannot be written: {exc.strerror}") from exc
    finally:
        temporary.unlink(missing_ok=True)
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

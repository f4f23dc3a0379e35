"""TFRecord files. Plain ones are read by byte offset from anywhere; GZIP and ZLIB ones from their start.

A record is its length (8 bytes, little endian), the masked CRC-32C of those 8 bytes (4), the data, and the data's
masked CRC-32C (4). Source: tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import copy
import gzip
import os
import struct
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np

from harness.data import BAD, SERIALIZED, Feature, Records, Source, storage
from harness.data.record_index import RecordIndex
from harness.errors import DataError
from harness.names.scratch import scratch_name
from harness.plan.plan import File

__all__ = ["TFRecordSource", "build_index", "index_path", "write_index"]

HEADER, FOOTER = 12, 4
READ = 1 << 23  # bytes read at a time
FIRST_RECORDS = 20  # that tell the features
SCAN = 1 << 22  # bytes looked at a time
HEADER_STRUCT = struct.Struct("<QI")
LENGTH_STRUCT = struct.Struct("<Q")
FOOTER_STRUCT = struct.Struct("<I")
CORRUPT = 1 << 32  # the word of a record that is skipped, whatever its bytes: above all CRCs


class TFRecordSource(Source):
    """Examples in TFRecord files.

    Args:
      files: with their example counts; a file that is not divisible is GZIP or ZLIB.
      index: of each file where records begin; None where packed.
      counted: see `Source.counted`.
    """

    def __init__(self, files: tuple[File, ...], index: Sequence[RecordIndex | None], counted: tuple[str, ...] = ()) -> None:
        self.files = files
        self._index = index
        self._counted = counted
        self._starts = np.concatenate([[0], np.cumsum([f.examples for f in files])]).astype(np.int64)
        self._wanted: Mapping[str, Feature] = {}
        self._skip = False
        self._spare: bytes | None = None  # a record that can be parsed: stands in for one that cannot

    @classmethod
    def open(cls, paths: Sequence[str]) -> TFRecordSource:
        """Index plain files (or read the index beside them, or the cached one), count packed ones.

        Raises: DataError: a file is cut off, or is no TFRecord file.
        """
        found = storage.each(_index, paths)
        counted = tuple(file.path for file, _, beside in found if not beside)
        return cls(tuple(file for file, _, _ in found), [index for _, index, _ in found], counted)

    @property
    def counted(self) -> tuple[str, ...]:
        """Those that have no index beside them."""
        return self._counted

    @property
    def flat(self) -> bool:
        """Records are serialized."""
        return True

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> TFRecordSource:
        """Read whole records whatever is wanted of them; with `skip`, see whether they can be parsed."""
        chosen = copy.copy(self)
        chosen._wanted, chosen._skip = dict(wanted), skip
        return chosen

    def features(self) -> dict[str, Feature]:
        """Describe the features of the first records: dtype and number of values."""
        from harness.data import examples

        first: list[bytes] = []
        # What is bad among them is said, or skipped, when it is read.
        for records in self.select({}, skip=True).read(0, min(FIRST_RECORDS, int(self._starts[-1])), FIRST_RECORDS):
            first += [data for data, bad in zip(records.raw[SERIALIZED], records.raw[BAD], strict=True) if not bad]
        return examples.infer(first)

    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Read whole records, checking their CRCs."""
        while start < stop:
            number = int(np.searchsorted(self._starts, start, side="right")) - 1
            base, end = int(self._starts[number]), min(stop, int(self._starts[number + 1]))
            reader = self._read_gzip if self._index[number] is None else self._read_plain
            yield from reader(number, start - base, end - base, size)
            start = end

    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Parse a batch of records at once."""
        from harness.data import examples

        return examples.parse(raw[SERIALIZED], wanted)

    def explain(self, start: int, stop: int, wanted: Mapping[str, Feature]) -> str | None:
        """Look at each record by itself."""
        from harness.data import examples

        for records in self.read(start, stop, 256):
            for example_id, data in zip(records.ids.tolist(), records.raw[SERIALIZED], strict=True):
                if wrong := examples.misfit(data, wanted):
                    return f"{self._where(example_id)}: {wrong}"
        return None

    def _checked(self, ids: np.ndarray, found: list[bytes | None], words: np.ndarray) -> Records:
        """Return records; where bad ones are skipped, with a mark on each, and another in its place."""
        if not self._skip:
            return Records(ids, {SERIALIZED: _strings(found)}, words)
        from harness.data import examples

        whole = [data for data in found if data is not None]
        wrong = iter(examples.check(whole, self._wanted) if whole else [])
        bad = np.array([data is None or next(wrong) is not None for data in found], bool)
        if bad.any():
            spare = (
                next((d for d, b in zip(found, bad.tolist(), strict=True) if not b and d is not None), None) or self._find_spare()
            )
            found = [spare if b else d for d, b in zip(found, bad.tolist(), strict=True)]
        return Records(ids, {SERIALIZED: _strings(found), BAD: bad}, words)

    def _find_spare(self) -> bytes:
        if self._spare is None:
            for number in range(len(self.files)):
                if (spare := self._spare_of(number)) is not None:
                    self._spare = spare
                    break
            else:
                plain = self.select({}, skip=False)
                raise DataError(f"not one record can be parsed; the first: {plain.explain(0, 1, self._wanted)}")
        return self._spare

    def _where(self, example: int) -> str:
        number = int(np.searchsorted(self._starts, example, side="right")) - 1
        record = example - int(self._starts[number])
        path, index = self.files[number].path, self._index[number]
        if index is None:
            return f"{path}, record {record}"
        entry = index.entry(record)
        with storage.open_range(path) as file:
            first = int(index.offsets[entry])
            places = _places(file.read(first, int(index.offsets[entry + 1])))
        return f"{path}, record {record} at byte {first + int(places[record - int(index.records[entry])])}"

    def _read_plain(self, number: int, start: int, stop: int, size: int) -> Iterator[Records]:
        path, index = self.files[number].path, self._index[number]
        assert index is not None
        held: list[bytes | None] = []  # records from `start` on, and their words
        words = np.zeros(0, np.uint64)
        entry = index.entry(start)
        with storage.open_range(path) as file:
            while start < stop:
                end = index.reach(entry, READ, stop)
                first, last = int(index.records[entry]), int(index.records[end])
                block = file.read(int(index.offsets[entry]), int(index.offsets[end]))
                places = _places(block)
                wanted = slice(max(start + len(held) - first, 0), stop - first)
                together = _together(block, places)
                if together is not None:
                    found, crcs = together
                else:
                    found = _records(block, path, first, int(index.offsets[entry]), wanted, skip=self._skip)
                    crcs = _words(found)
                index.check(path, entry, end, places)
                held += found[wanted]
                words = np.concatenate([words, crcs[wanted]])
                entry = end
                whole = len(held) if last >= stop else len(held) - len(held) % size
                for at in range(0, whole, size):
                    part = held[at : min(at + size, whole)]
                    ids = np.arange(start + at, start + at + len(part), dtype=np.int64) + self._starts[number]
                    yield self._checked(ids, part, words[at : at + len(part)])
                start, held, words = start + whole, held[whole:], words[whole:]

    def _spare_of(self, number: int) -> bytes | None:
        """Return the first record of a file that can be parsed."""
        from harness.data import examples

        index = self._index[number]
        path = self.files[number].path
        if index is None:
            found: Iterable[bytes | None] = _scan_packed(path, skip=True)
        else:
            found = self._records_of(path, index)
        return next((data for data in found if data is not None and examples.check([data], self._wanted) == [None]), None)

    def _records_of(self, path: str, index: RecordIndex) -> Iterator[bytes | None]:
        with storage.open_range(path) as file:
            for entry in range(len(index.records) - 1):
                first = int(index.offsets[entry])
                block = file.read(first, int(index.offsets[entry + 1]))
                yield from _records(block, path, int(index.records[entry]), first, skip=True)

    def _read_gzip(self, number: int, start: int, stop: int, size: int) -> Iterator[Records]:
        path = self.files[number].path
        found: list[bytes | None] = []
        first = start
        for record, data in enumerate(_scan_packed(path, skip=self._skip)):
            if record >= stop:
                break
            if record < start:
                continue
            found.append(data)
            if len(found) == size or record == stop - 1:
                yield self._checked(np.arange(first, record + 1, dtype=np.int64) + self._starts[number], found, _words(found))
                first, found = record + 1, []
        if found:
            yield self._checked(np.arange(first, first + len(found)) + self._starts[number], found, _words(found))


def _index(path: str) -> tuple[File, RecordIndex | None, bool]:
    """Count the records of a file, and find them where it is plain; say whether the index lay beside it."""
    size = storage.size_bytes(path)
    if _is_packed(path):
        count = storage.cached(path, "tfrecord packed", lambda: np.array([sum(1 for _ in _scan_packed(path))], np.int64))
        return File(path, size, int(count[0]), divisible=False), None, False
    offsets = None if storage.is_url(path) else _read_index(path, size)
    beside = offsets is not None
    if offsets is not None:
        index = RecordIndex.of(offsets)
    else:
        index = RecordIndex.unpack(storage.cached(path, "tfrecord thinned", lambda: RecordIndex.of(build_index(path)).pack()))
    return File(path, size, index.count), index, beside


def build_index(path: str) -> np.ndarray:
    """Find where the records of a plain TFRecord file begin.

    Returns: byte offset of every record, and the file's size: int64 [records + 1].
    Raises: DataError: the file is cut off, or a length is corrupt.
    """
    offsets = array("q")  # eight bytes a record, not the forty of a list
    at = 0
    with storage.open_range(path) as file:
        size, base, block = file.size, 0, b""
        while at < size:
            offsets.append(at)
            if at + HEADER > size:
                raise _cut_off(path, len(offsets) - 1, at, HEADER, size - at)
            if at + HEADER > base + len(block):
                base, block = at, file.read(at, at + SCAN)
            length, crc = HEADER_STRUCT.unpack_from(block, at - base)
            if crc != _masked_crc(block[at - base : at - base + 8]):
                hint = "is it a TFRecord file?" if at == 0 else "copy or write the file again"
                raise DataError(f"{path}, record {len(offsets) - 1} at byte {at}: the CRC of its length is wrong; {hint}")
            at += HEADER + length + FOOTER
        if at > size:
            raise _cut_off(path, len(offsets) - 1, offsets[-1], at - offsets[-1], size - offsets[-1])
    offsets.append(size)
    return np.frombuffer(offsets, np.int64)


def index_path(path: str) -> str:
    """Return where the index of a file lies: beside it, named as NVIDIA DALI's tfrecord2idx is used to."""
    return path + ".idx"


def write_index(path: str) -> int:
    """Write the index of a file beside it, one line "offset size" per record; return how many records there are.

    Raises: DataError: see `build_index`; also for a GZIP file, which has no offsets.
    """
    if _is_packed(path):
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


def _places(block: bytes) -> np.ndarray:
    """Find where the records of a block begin, each by the length of the one before; and the end, int64 [n + 1]."""
    if len(block) < HEADER:
        return np.zeros(1, np.int64)
    length = LENGTH_STRUCT.unpack_from(block)[0] + HEADER + FOOTER
    if length <= len(block) and not len(block) % length:
        lengths = np.frombuffer(block, np.uint8).reshape(-1, length)[:, :8]
        if (lengths == lengths[0]).all():  # all alike: there is no need to go from one to the next
            return np.arange(0, len(block) + 1, length, dtype=np.int64)
    places, at, end, unpack = [0], 0, len(block) - HEADER, LENGTH_STRUCT.unpack_from
    while at <= end:
        at += unpack(block, at)[0] + (HEADER + FOOTER)
        places.append(at)
    return np.array(places if at < 1 << 62 else places[:-1], np.int64)


def _together(block: bytes, places: np.ndarray) -> tuple[list[bytes | None], np.ndarray] | None:
    """Cut a block of whole records, all at once; None where one is not as it should be, for `_records` to say what.

    Args:
      places: where the records begin, and the end, int64 [n + 1].
    Returns: the data, and the CRC of each record, uint64 [n].
    """
    if len(places) < 2 or places[-1] != len(block):
        return None
    view = np.frombuffer(block, np.uint8)
    begins, ends = places[:-1], places[1:]
    head = view[begins[:, None] + np.arange(HEADER)]
    foot = view[ends[:, None] - FOOTER + np.arange(FOOTER)]
    data = [block[a:b] for a, b in zip((begins + HEADER).tolist(), (ends - FOOTER).tolist(), strict=True)]
    crcs = np.fromiter(map(google_crc32c.value, data), np.uint32, len(data))
    good = np.array_equal(np.ascontiguousarray(foot).view("<u4").ravel(), _masked(crcs))
    good = good and np.array_equal(np.ascontiguousarray(head[:, 8:]).view("<u4").ravel(), _masked(_crc_of_rows(head[:, :8])))
    return (list(data), crcs.astype(np.uint64)) if good else None


def _masked(crcs: np.ndarray) -> np.ndarray:
    """Mask CRCs, uint32 [n]; arithmetic wraps, as it has to."""
    return ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(0xA282EAD8)


def _crc_of_rows(rows: np.ndarray) -> np.ndarray:
    """Return the CRC-32C of each row of a matrix of bytes, uint32 [n]: a table look-up a column.

    >>> _crc_of_rows(np.frombuffer(b"12345678", np.uint8)[None])[0] == google_crc32c.value(b"12345678")
    np.True_
    """
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(0x82F63B78), table >> np.uint32(1))
    crc = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T:
        crc = table[(crc ^ column) & np.uint32(0xFF)] ^ (crc >> np.uint32(8))
    return ~crc


def _records(
    block: bytes, path: str, first: int, offset: int, wanted: slice = slice(None), *, skip: bool = False
) -> list[bytes | None]:
    """Cut a block of whole records; check their CRCs. Returns the data, None for what is skipped.

    Args:
      block: its bytes.
      path, first, offset: the file, the record with which the block begins, and the byte.
      wanted: the records that were asked for; others that are corrupt are the business of whoever asks for those.
      skip: leave corrupt records out.
    Raises: DataError: one is corrupt, or cut off.
    """
    asked = range(len(block))[wanted]  # a record has a byte at least
    found: list[bytes | None] = []
    at, end = 0, len(block)
    while at < end:
        record = first + len(found)
        if at + HEADER > end:
            raise _cut_off(path, record, offset + at, HEADER, end - at)
        length, crc = HEADER_STRUCT.unpack_from(block, at)
        stop = at + HEADER + length
        if crc != _masked_crc(block[at : at + 8]):
            raise DataError(
                f"{path}, record {record} at byte {offset + at}: the CRC of its length is wrong; write the file again"
            )
        if stop + FOOTER > end:
            raise _cut_off(path, record, offset + at, HEADER + length + FOOTER, end - at)
        data: bytes | None = block[at + HEADER : stop]
        if FOOTER_STRUCT.unpack_from(block, stop)[0] != _masked_crc(data):  # type: ignore[arg-type]
            if not skip and len(found) in asked:
                raise DataError(
                    f"{path}, record {record} at byte {offset + at}: the CRC of its data is wrong, the record is corrupt; "
                    "copy or write the file again"
                )
            data = None
        found.append(data)
        at = stop + FOOTER
    return found


def _scan_packed(path: str, *, skip: bool = False) -> Iterator[bytes | None]:
    """Yield the records of a GZIP or ZLIB file, checking their CRCs; None for one that is skipped."""
    record = at = 0
    try:
        with storage.open_range(path) as file:
            stream = storage.unpacked(file)
            while header := stream.read(HEADER):
                if len(header) < HEADER:
                    raise _cut_off(path, record, at, HEADER, len(header), "of the unpacked stream")
                length, crc = HEADER_STRUCT.unpack(header)
                if crc != _masked_crc(header[:8]):
                    raise DataError(
                        f"{path}, record {record} at byte {at} of the unpacked stream: the CRC of its length is wrong"
                    )
                body = stream.read(length + FOOTER)
                if len(body) < length + FOOTER:
                    raise _cut_off(path, record, at, length + FOOTER, len(body), "of the unpacked stream")
                good = FOOTER_STRUCT.unpack_from(body, length)[0] == _masked_crc(body[:length])
                if not good and not skip:
                    raise DataError(f"{path}, record {record} at byte {at} of the unpacked stream: the CRC of its data is wrong")
                yield body[:length] if good else None
                record += 1
                at += HEADER + length + FOOTER
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise DataError(
            f"{path}, record {record} at byte {at} of the unpacked stream: the packed stream is broken: {exc}"
        ) from exc


def _cut_off(path: str, record: int, at: int, expected: int, found: int, stream: str = "") -> DataError:
    where = f"{path}, record {record} at byte {at}{' ' + stream if stream else ''}"
    return DataError(f"{where}: the file is cut off: expected {expected} bytes more, found {found}; copy or write it again")


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _words(found: Sequence[bytes | None]) -> np.ndarray:
    """Return the CRC of each record, and a mark of those that are skipped: uint64 [n]."""
    crcs = (CORRUPT if data is None else google_crc32c.value(data) for data in found)
    return np.fromiter(crcs, np.uint64, len(found))


def _strings(found: Sequence[bytes | None]) -> np.ndarray:
    array = np.empty(len(found), dtype=object)
    array[:] = found
    return array


def _is_packed(path: str) -> bool:
    """Say whether a file is GZIP or ZLIB. A plain one begins with a length whose CRC fits, whatever its first bytes are."""
    with storage.open_range(path) as file:
        head = file.read(0, HEADER)
    if len(head) == HEADER and HEADER_STRUCT.unpack(head)[1] == _masked_crc(head[:8]):
        return False
    return head[:2] == storage.GZIP_MAGIC or storage.is_zlib(head[:2])

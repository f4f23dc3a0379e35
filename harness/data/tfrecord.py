"""TFRecord files of tf.train.Example. Plain files are read by byte offset from anywhere; GZIP files from their start.

A record is its length (8 bytes, little endian), the masked CRC-32C of those 8 bytes (4), the data, and the data's
masked CRC-32C (4). Source: tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import gzip
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import IO, Any

import google_crc32c
import numpy as np

from harness.data import SERIALIZED, Feature, Records, Source
from harness.errors import DataError
from harness.plan import File

__all__ = ["TFRecordSource", "build_index", "index_path", "write_index"]

HEADER, FOOTER = 12, 4
GZIP_MAGIC = b"\x1f\x8b"
HEADER_STRUCT = struct.Struct("<QI")
FOOTER_STRUCT = struct.Struct("<I")
LISTS = {"float_list": "float32", "int64_list": "int64", "bytes_list": "string"}


class TFRecordSource(Source):
    """Examples in TFRecord files.

    Args:
      files: with their example counts; a file that is not divisible is GZIP.
      offsets: of each file the byte offset of every record and the file's size, int64 [examples + 1]; None for GZIP.
    """

    def __init__(self, files: tuple[File, ...], offsets: Sequence[np.ndarray | None]) -> None:
        self.files = files
        self._offsets = offsets
        self._starts = np.concatenate([[0], np.cumsum([f.examples for f in files])]).astype(np.int64)

    @classmethod
    def open(cls, paths: Sequence[str]) -> TFRecordSource:
        """Index plain files (or read the index beside them), count GZIP files.

        Raises: DataError: a file is cut off, or is no TFRecord file.
        """
        files: list[File] = []
        indices: list[np.ndarray | None] = []
        for path in paths:
            size = os.path.getsize(path)
            if _is_gzip(path):
                count = sum(1 for _ in _scan_gzip(path))
                files.append(File(path, size, count, divisible=False))
                indices.append(None)
            else:
                offsets = _read_index(path, size)
                if offsets is None:
                    offsets = build_index(path)
                files.append(File(path, size, len(offsets) - 1))
                indices.append(offsets)
        return cls(tuple(files), indices)

    def features(self) -> dict[str, Feature]:
        """Describe the features of the first record: dtype and number of values."""
        import tensorflow as tf

        for records in self.read(0, min(1, int(self._starts[-1])), 1):
            try:
                example = tf.train.Example.FromString(records.raw[SERIALIZED][0])
            except Exception as exc:  # protobuf's DecodeError, whose home depends on the implementation
                raise DataError(f"{self._where(0)}: not a tf.train.Example: {exc}") from exc
            return {name: _feature(value) for name, value in sorted(example.features.feature.items())}
        return {}

    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Read whole records, checking their CRCs."""
        while start < stop:
            number = int(np.searchsorted(self._starts, start, side="right")) - 1
            base, end = int(self._starts[number]), min(stop, int(self._starts[number + 1]))
            reader = self._read_gzip if self._offsets[number] is None else self._read_plain
            yield from reader(number, start - base, end - base, size)
            start = end

    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Parse a batch of records at once."""
        import tensorflow as tf

        specs = {
            name: tf.io.FixedLenFeature(feature.shape, tf.as_dtype(feature.dtype))
            for name, feature in wanted.items()
            if name != SERIALIZED
        }
        parsed = dict(tf.io.parse_example(raw[SERIALIZED], specs)) if specs else {}
        if SERIALIZED in wanted:
            parsed[SERIALIZED] = raw[SERIALIZED]
        return parsed

    def explain(self, start: int, stop: int, wanted: Mapping[str, Feature]) -> str | None:
        """Look at each record by itself."""
        import tensorflow as tf

        for records in self.read(start, stop, 256):
            for example_id, data in zip(records.ids.tolist(), records.raw[SERIALIZED], strict=True):
                try:
                    example = tf.train.Example.FromString(data)
                except Exception as exc:  # noqa: BLE001 - as in `features`
                    return f"{self._where(example_id)}: not a tf.train.Example: {exc}"
                for name, feature in wanted.items():
                    wrong = None if name == SERIALIZED else _misfit(name, feature, example.features.feature)
                    if wrong:
                        return f"{self._where(example_id)}: {wrong}"
        return None

    def _where(self, example: int) -> str:
        number = int(np.searchsorted(self._starts, example, side="right")) - 1
        record = example - int(self._starts[number])
        offsets = self._offsets[number]
        at = "" if offsets is None else f" at byte {offsets[record]}"
        return f"{self.files[number].path}, record {record}{at}"

    def _read_plain(self, number: int, start: int, stop: int, size: int) -> Iterator[Records]:
        path, offsets = self.files[number].path, self._offsets[number]
        assert offsets is not None
        with _open(path) as stream:
            for first in range(start, stop, size):
                last = min(first + size, stop)
                stream.seek(int(offsets[first]))
                block = stream.read(int(offsets[last] - offsets[first]))
                found, places = _records(block, path, first, int(offsets[first]))
                records = np.searchsorted(offsets, places)
                yield Records(records.astype(np.int64) + self._starts[number], {SERIALIZED: _strings(found)})

    def _read_gzip(self, number: int, start: int, stop: int, size: int) -> Iterator[Records]:
        path = self.files[number].path
        found: list[bytes] = []
        first = start
        for record, data in enumerate(_scan_gzip(path)):
            if record >= stop:
                break
            if record < start:
                continue
            found.append(data)
            if len(found) == size or record == stop - 1:
                yield Records(np.arange(first, record + 1, dtype=np.int64) + self._starts[number], {SERIALIZED: _strings(found)})
                first, found = record + 1, []
        if found:
            yield Records(np.arange(first, first + len(found)) + self._starts[number], {SERIALIZED: _strings(found)})


def build_index(path: str) -> np.ndarray:
    """Find where the records of a plain TFRecord file begin.

    Returns: byte offset of every record, and the file's size: int64 [records + 1].
    Raises: DataError: the file is cut off, or a length is corrupt.
    """
    size = os.path.getsize(path)
    offsets = []
    at = 0
    if size:
        with _open(path) as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
            while at < size:
                offsets.append(at)
                if at + HEADER > size:
                    raise _cut_off(path, len(offsets) - 1, at, HEADER, size - at)
                length, crc = HEADER_STRUCT.unpack_from(view, at)
                if crc != _masked_crc(view[at : at + 8]):
                    hint = "is it a TFRecord file?" if at == 0 else "copy or write the file again"
                    raise DataError(f"{path}, record {len(offsets) - 1} at byte {at}: the CRC of its length is wrong; {hint}")
                at += HEADER + length + FOOTER
            if at > size:
                raise _cut_off(path, len(offsets) - 1, offsets[-1], at - offsets[-1], size - offsets[-1])
    return np.array([*offsets, size], np.int64)


def index_path(path: str) -> str:
    """Return where the index of a file lies: beside it, named as NVIDIA DALI's tfrecord2idx is used to."""
    return path + ".idx"


def write_index(path: str) -> int:
    """Write the index of a file beside it, one line "offset size" per record; return how many records there are.

    Raises: DataError: see `build_index`; also for a GZIP file, which has no offsets.
    """
    if _is_gzip(path):
        raise DataError(f"{path}: a GZIP file cannot be cut and so has no index; it is read as one chunk")
    offsets = build_index(path)
    temporary = f"{index_path(path)}.{os.getpid()}"
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


def _records(block: bytes, path: str, first: int, offset: int) -> tuple[list[bytes], list[int]]:
    """Cut a block of whole records; check their CRCs. Returns the data and the byte offset of each."""
    found: list[bytes] = []
    places: list[int] = []
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
        data = block[at + HEADER : stop]
        if FOOTER_STRUCT.unpack_from(block, stop)[0] != _masked_crc(data):
            raise DataError(
                f"{path}, record {record} at byte {offset + at}: the CRC of its data is wrong, the record is corrupt; "
                "copy or write the file again"
            )
        found.append(data)
        places.append(offset + at)
        at = stop + FOOTER
    return found, places


def _scan_gzip(path: str) -> Iterator[bytes]:
    """Yield the records of a GZIP file, checking their CRCs."""
    record = at = 0
    try:
        with gzip.open(path, "rb") as stream:
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
                if FOOTER_STRUCT.unpack_from(body, length)[0] != _masked_crc(body[:length]):
                    raise DataError(f"{path}, record {record} at byte {at} of the unpacked stream: the CRC of its data is wrong")
                yield body[:length]
                record += 1
                at += HEADER + length + FOOTER
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise DataError(f"{path}, record {record} at byte {at} of the unpacked stream: the GZIP stream is broken: {exc}") from exc


def _cut_off(path: str, record: int, at: int, expected: int, found: int, stream: str = "") -> DataError:
    where = f"{path}, record {record} at byte {at}{' ' + stream if stream else ''}"
    return DataError(f"{where}: the file is cut off: expected {expected} bytes more, found {found}; copy or write it again")


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _strings(found: list[bytes]) -> np.ndarray:
    array = np.empty(len(found), dtype=object)
    array[:] = found
    return array


def _open(path: str) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as exc:
        raise DataError(f"{path}: cannot be read: {exc.strerror}") from exc


def _is_gzip(path: str) -> bool:
    with _open(path) as stream:
        return stream.read(2) == GZIP_MAGIC


def _feature(value: Any) -> Feature:
    kind = value.WhichOneof("kind")
    if kind is None:
        return Feature("float32", (0,))
    return Feature(LISTS[kind], (len(getattr(value, kind).value),))


def _misfit(name: str, wanted: Feature, features: Any) -> str | None:
    """Say how a feature of one record differs from what is wanted, None where it fits."""
    if name not in features or features[name].WhichOneof("kind") is None:
        return f"feature '{name}' is missing; the record has {', '.join(sorted(features)) or 'none'}"
    found = _feature(features[name])
    if found.dtype != wanted.dtype:
        return f"feature '{name}': expected {wanted}, found {found.dtype} values"
    count = prod(d or 0 for d in wanted.shape)
    if found.shape != (count,):
        return f"feature '{name}': expected {wanted}, that is {count} values, found {found.shape[0]}"
    return None

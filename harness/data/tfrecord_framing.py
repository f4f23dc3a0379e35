"""The framing of TFRecord files: how records lie one after the other in bytes. Knows no files, no examples.

A record is its length (8 bytes, little endian), the masked CRC-32C of those 8 bytes (4), the data, and the data's
masked CRC-32C (4). Source: tensorflow/core/lib/io/record_writer.h.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import google_crc32c
import numpy as np

from harness.errors import DataError

__all__ = [
    "CRC_SKIPPED",
    "FOOTER",
    "HEADER",
    "crcs",
    "cut",
    "cut_all",
    "cut_off",
    "data_length",
    "first_header",
    "frame",
    "intact",
    "starts",
]

HEADER, FOOTER = 12, 4  # bytes before and after the data
CANDIDATES = 1 << 16  # lengths whose CRCs are computed at a time
CRC_SKIPPED = 1 << 32  # stands for the CRC of a record that is skipped, whatever its bytes: above all CRCs


def _crc_table() -> np.ndarray:
    """Return the CRC-32C of every byte, before it is inverted, uint32 [256]."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> np.uint32(1)) ^ np.uint32(0x82F63B78), table >> np.uint32(1))
    return table


_CRC_TABLE = _crc_table()
_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_FOOTER = struct.Struct("<I")


def frame(data: bytes) -> bytes:
    """Return a record that holds some data.

    >>> record = frame(b"abc")
    >>> len(record), cut(record, "a", 0, 0)
    (19, [b'abc'])
    """
    length = _LENGTH.pack(len(data))
    return b"".join([length, _FOOTER.pack(_masked_crc(length)), data, _FOOTER.pack(_masked_crc(data))])


def data_length(block: bytes, at: int = 0) -> int | None:
    """Return how many bytes of data the record has that begins at a byte; None where the CRC of the length is wrong.

    >>> data_length(frame(b"abc")), data_length(bytes(12))
    (3, None)
    """
    length, crc = _HEADER.unpack_from(block, at)
    return length if crc == _masked_crc(block[at : at + 8]) else None


def first_header(block: bytes, left: int) -> int | None:
    """Return the first byte of a block where a record may begin: a length that fits, with its CRC; None without one.

    Args:
      block: any bytes.
      left: bytes from its first one to the end of the file.

    >>> first_header(b"no header" + frame(b"abc"), 28), first_header(bytes(100), 100)
    (9, None)
    """
    places = []
    for phase in range(8):  # lengths at bytes 8 n + phase
        number = (len(block) - phase - HEADER) // 8 + 1
        if number > 0:
            lengths = np.frombuffer(block, "<u8", number, phase)
            begins = 8 * np.arange(number, dtype=np.uint64) + np.uint64(phase)
            places.append(begins[lengths <= np.uint64(max(left - HEADER - FOOTER, 0))])
    if not places:
        return None
    candidates = np.sort(np.concatenate(places)).astype(np.int64)
    view = np.frombuffer(block, np.uint8)
    for at in range(0, len(candidates), CANDIDATES):
        some = candidates[at : at + CANDIDATES]
        rows = view[some[:, None] + np.arange(HEADER)]
        crcs_there = np.ascontiguousarray(rows[:, 8:]).view("<u4").ravel()
        fitting = some[crcs_there == _masked(_crc_of_rows(rows[:, :8]))]
        if len(fitting):
            return int(fitting[0])
    return None


def intact(data: bytes, footer: bytes) -> bool:
    """Say whether data have the CRC that their footer says."""
    return bool(_FOOTER.unpack(footer)[0] == _masked_crc(data))


def starts(block: bytes) -> np.ndarray:
    """Find where the records of a block begin, each by the length of the one before; and the end, int64 [n + 1].

    >>> starts(frame(b"abc") + frame(b"")).tolist()
    [0, 19, 35]
    """
    if len(block) < HEADER:
        return np.zeros(1, np.int64)
    length = _LENGTH.unpack_from(block)[0] + HEADER + FOOTER
    if length <= len(block) and not len(block) % length:
        lengths = np.frombuffer(block, np.uint8).reshape(-1, length)[:, :8]
        if (lengths == lengths[0]).all():  # all alike: there is no need to go from one to the next
            return np.arange(0, len(block) + 1, length, dtype=np.int64)
    bounds, at, last, unpack = [0], 0, len(block) - HEADER, _LENGTH.unpack_from
    while at <= last:
        at += unpack(block, at)[0] + (HEADER + FOOTER)
        bounds.append(at)
    return np.array(bounds if at < 1 << 62 else bounds[:-1], np.int64)


def cut_all(block: bytes, bounds: np.ndarray) -> tuple[list[bytes | None], np.ndarray] | None:
    """Cut a block of whole records, all at once; None where one is not as it should be, for `cut` to say what.

    Args:
      bounds: where the records begin, and the end, int64 [n + 1]; see `starts`.
    Returns: the data, and the CRC of each record, uint64 [n].
    """
    if len(bounds) < 2 or bounds[-1] != len(block):
        return None
    view = np.frombuffer(block, np.uint8)
    begins, ends = bounds[:-1], bounds[1:]
    head = view[begins[:, None] + np.arange(HEADER)]
    foot = view[ends[:, None] - FOOTER + np.arange(FOOTER)]
    data = [block[a:b] for a, b in zip((begins + HEADER).tolist(), (ends - FOOTER).tolist(), strict=True)]
    data_crcs = np.fromiter(map(google_crc32c.value, data), np.uint32, len(data))
    good = np.array_equal(np.ascontiguousarray(foot).view("<u4").ravel(), _masked(data_crcs))
    good = good and np.array_equal(np.ascontiguousarray(head[:, 8:]).view("<u4").ravel(), _masked(_crc_of_rows(head[:, :8])))
    return (list(data), data_crcs.astype(np.uint64)) if good else None


def cut(
    block: bytes, path: str, first: int, offset: int, wanted: slice = slice(None), *, skip: bool = False
) -> list[bytes | None]:
    """Cut a block of whole records one by one, checking their CRCs. Returns the data, None for what is skipped.

    Args:
      block: its bytes.
      path, first, offset: the file, the record with which the block begins, and the byte; for messages.
      wanted: the records that were asked for; others that are corrupt are the business of whoever asks for those.
      skip: leave corrupt records out.
    Raises: DataError: one is corrupt, or cut off.
    """
    asked = range(len(block))[wanted]  # a record has a byte at least
    records: list[bytes | None] = []
    at, end = 0, len(block)
    while at < end:
        where = f"{path}, record {first + len(records)} at byte {offset + at}"
        if at + HEADER > end:
            raise cut_off(where, HEADER, end - at)
        length = data_length(block, at)
        if length is None:
            raise DataError(f"{where}: the CRC of its length is wrong; write the file again")
        stop = at + HEADER + length
        if stop + FOOTER > end:
            raise cut_off(where, HEADER + length + FOOTER, end - at)
        data: bytes | None = block[at + HEADER : stop]
        if not intact(data, block[stop : stop + FOOTER]):  # type: ignore[arg-type]
            if not skip and len(records) in asked:
                raise DataError(f"{where}: the CRC of its data is wrong, the record is corrupt; copy or write the file again")
            data = None
        records.append(data)
        at = stop + FOOTER
    return records


def crcs(records: Sequence[bytes | None]) -> np.ndarray:
    """Return the CRC of the data of each record, `CRC_SKIPPED` for one that is skipped: uint64 [n]."""
    values = (CRC_SKIPPED if data is None else google_crc32c.value(data) for data in records)
    return np.fromiter(values, np.uint64, len(records))


def cut_off(where: str, expected: int, left: int) -> DataError:
    """Return the error that a file ends within a record.

    Args:
      where: file, record and byte.
      expected: bytes from there on.
      left: bytes that there are.
    """
    return DataError(f"{where}: the file is cut off: expected {expected} bytes more, found {left}; copy or write it again")


def _masked_crc(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _masked(values: np.ndarray) -> np.ndarray:
    """Mask CRCs, uint32 [n]; arithmetic wraps, as it has to."""
    return ((values >> np.uint32(15)) | (values << np.uint32(17))) + np.uint32(0xA282EAD8)


def _crc_of_rows(rows: np.ndarray) -> np.ndarray:
    """Return the CRC-32C of each row of a matrix of bytes, uint32 [n]: a table look-up a column.

    >>> _crc_of_rows(np.frombuffer(b"12345678", np.uint8)[None])[0] == google_crc32c.value(b"12345678")
    np.True_
    """
    if len(rows) > 1 and (rows == rows[0]).all():  # records are often as long as each other
        return np.repeat(_crc_of_rows(rows[:1]), len(rows))
    values = np.full(len(rows), 0xFFFFFFFF, np.uint32)
    for column in rows.T:
        values = _CRC_TABLE[(values ^ column) & np.uint32(0xFF)] ^ (values >> np.uint32(8))
    return ~values

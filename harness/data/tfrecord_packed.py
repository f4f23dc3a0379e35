"""GZIP and ZLIB files of TFRecords: read from their start, for they have no offsets."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from harness.data import packed_stream
from harness.data.range_file import open_range
from harness.data.tfrecord_framing import FOOTER, HEADER, cut_off, data_length, intact
from harness.errors import DataError

__all__ = ["is_packed", "records"]


def is_packed(path: str) -> bool:
    """Say whether a file is GZIP or ZLIB. A plain one begins with a length whose CRC fits, whatever its first bytes are."""
    with open_range(path) as file:
        head = file.read(0, HEADER)
    if len(head) == HEADER and data_length(head) is not None:
        return False
    return packed_stream.is_packed(head[:2])


def records(path: str, *, skip: bool = False) -> Iterator[bytes | None]:
    """Yield the records of a packed file, checking their CRCs; with `skip`, None for one whose data are corrupt.

    Raises: DataError: a record is corrupt or cut off, or the packed stream is broken.
    """
    number = at = 0
    try:
        with open_range(path) as file:
            stream = packed_stream.unpacked(file)
            while header := stream.read(HEADER):
                if len(header) < HEADER:
                    raise cut_off(_where(path, number, at), HEADER, len(header))
                length = data_length(header)
                if length is None:
                    raise DataError(f"{_where(path, number, at)}: the CRC of its length is wrong")
                body = stream.read(length + FOOTER)
                if len(body) < length + FOOTER:
                    raise cut_off(_where(path, number, at), length + FOOTER, len(body))
                data = body[:length]
                good = intact(data, body[length:])
                if not good and not skip:
                    raise DataError(f"{_where(path, number, at)}: the CRC of its data is wrong")
                yield data if good else None
                number += 1
                at += HEADER + length + FOOTER
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise DataError(f"{_where(path, number, at)}: the packed stream is broken: {exc}") from exc


def _where(path: str, record: int, at: int) -> str:
    return f"{path}, record {record} at byte {at} of the unpacked stream"

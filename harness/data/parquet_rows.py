"""The rows of a row group of a Parquet file, decoded forwards, a few megabytes at a time. Knows no plan and no features.

A row group may hold a million rows: what is in memory of it is what was decoded last, and a buffer a column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["GroupRows"]

BLOCK_BYTES = 8 << 20  # decoded at a time
VALUE_BYTES = {"INT32": 4, "FLOAT": 4}  # by physical type, at least
OTHER_BYTES = 8
BYTES = {"BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"}  # texts that are repeated are in the file once, however long they are
MOST_TEXTS = 4096  # decoded at a time


class GroupRows:
    """The chosen columns of one row group.

    Args:
      file: pyarrow.parquet.ParquetFile.
      group: the number of the row group.
      names: of the columns.
      unit: rows; whole units are decoded at a time.
    """

    def __init__(self, file: Any, group: int, names: Sequence[str], unit: int) -> None:
        described, wanted = file.metadata.row_group(group), frozenset(names)
        columns = [described.column(number) for number in range(described.num_columns)]
        columns = [column for column in columns if _is_of(column.path_in_schema, wanted)]
        rows = BLOCK_BYTES // max(sum(map(_decoded_bytes, columns)) // max(described.num_rows, 1), 1)
        if any(column.physical_type in BYTES for column in columns):
            rows = min(rows, MOST_TEXTS)
        self._batches: Iterator[Any] = file.iter_batches(max(rows // unit, 1) * unit, row_groups=[group], columns=list(names))
        self._batch: Any = None
        self._first = 0

    @property
    def first(self) -> int:
        """The first row that can still be had."""
        return self._first

    def at(self, row: int) -> tuple[int, Any]:
        """Decode as far as a row that can still be had.

        Returns: the first row of what holds it, and that, pyarrow.RecordBatch.
        Raises: EOFError: the row group ends before it; OSError, pyarrow.ArrowException: the file is broken.
        """
        while self._batch is None or row >= self._first + self._batch.num_rows:
            self._first += 0 if self._batch is None else self._batch.num_rows
            self._batch = None  # before the next is decoded
            self._batch = next(self._batches, None)
            if self._batch is None:
                raise EOFError(f"{self._first} rows")
        return self._first, self._batch


def _is_of(path: str, names: frozenset[str]) -> bool:
    """Whether a column of the file belongs to one of some columns of the table, whose names may have dots themselves.

    >>> [_is_of(path, frozenset(["x.y"])) for path in ("x.y", "x.y.list.element", "x")]
    [True, True, False]
    """
    parts = path.split(".")
    return any(".".join(parts[: number + 1]) in names for number in range(len(parts)))


def _decoded_bytes(column: Any) -> int:
    """Return about how many bytes a column takes once it is decoded; repeated values take less in the file."""
    return max(column.total_uncompressed_size, column.num_values * VALUE_BYTES.get(column.physical_type, OTHER_BYTES))

"""The rows of a row group of a Parquet file, decoded forwards, a few megabytes at a time. Knows no plan and no features.

A row group may hold a million rows: what is in memory of it is what was decoded last, and a buffer a column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["GroupRows"]

BLOCK_BYTES = 8 << 20  # decoded at a time
VALUE_BYTES = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4}  # by physical type; others take more
OTHER_BYTES = 8


class GroupRows:
    """The chosen columns of one row group.

    Args:
      file: pyarrow.parquet.ParquetFile.
      group: the number of the row group.
      names: of the columns.
      unit: rows; whole units are decoded at a time.
    """

    def __init__(self, file: Any, group: int, names: Sequence[str], unit: int) -> None:
        rows = BLOCK_BYTES // _row_bytes(file.metadata.row_group(group), frozenset(names))
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


def _row_bytes(described: Any, names: frozenset[str]) -> int:
    """Return about how many bytes a row takes once it is decoded; repeated values take less in the file."""
    size = 0
    for number in range(described.num_columns):
        chunk = described.column(number)
        if chunk.path_in_schema in names or chunk.path_in_schema.partition(".")[0] in names:
            size += max(chunk.total_uncompressed_size, chunk.num_values * VALUE_BYTES.get(chunk.physical_type, OTHER_BYTES))
    return max(size // max(described.num_rows, 1), 1)

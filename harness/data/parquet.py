"""Parquet files, cut at any row. Only the needed columns are read; ids come from the position of the row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.data import storage
from harness.data.columns import BLOCK, ColumnSource, Piece, feature_of, from_arrow
from harness.data.parquet_rows import GroupRows
from harness.data.range_file import open_range
from harness.data.source import Feature, Origin
from harness.errors import DataError, nearest
from harness.plan.plan import File

__all__ = ["ParquetSource", "open_parquet"]

FIRST_ROWS = 64  # that tell the lengths of lists
READ_BYTES = 1 << 20  # of a column at a time


def open_parquet(origin: Origin) -> ParquetSource:
    """Open Parquet files; see `ParquetSource.open`."""
    return ParquetSource.open(origin.paths)


class ParquetSource(ColumnSource):
    """Examples in Parquet files.

    A row group is decoded from its start whatever part of it is asked for: where the last one has been decoded to is kept,
    so that the chunks of a rank that follow each other decode it once.

    Args:
      files: with their example counts.
      groups: of each file the first row of every row group, and the number of rows: int64 [groups + 1].
    """

    def __init__(self, files: tuple[File, ...], groups: Sequence[np.ndarray]) -> None:
        super().__init__(files)
        self._groups = groups
        self._opened: tuple[int, Any] | None = None
        self._held: tuple[tuple[int, int, tuple[str, ...]], GroupRows] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process."""
        return {**self.__dict__, "_opened": None, "_held": None}

    @classmethod
    def open(cls, paths: Sequence[str]) -> ParquetSource:
        """Read the footers, and compare the schemas.

        Raises: DataError: a file is no Parquet file, or has other columns than the first.
        """
        descriptions = storage.map_files(_describe, paths)
        first = descriptions[0][2]
        for path, (_, _, schema) in zip(paths, descriptions, strict=True):
            if not schema.equals(first):
                raise DataError(
                    f"{path}: expected the columns of {paths[0]} ({_show(first)}), found {_show(schema)}; "
                    "files of one job must agree in names and types"
                )
        files = tuple(File(path, size, int(groups[-1])) for path, (size, groups, _) in zip(paths, descriptions, strict=True))
        return cls(files, [groups for _, groups, _ in descriptions])

    def features(self) -> dict[str, Feature]:
        """Return the columns that are numbers, strings, or lists of them; the first rows tell how long lists are."""
        import pyarrow as pa

        number = next((n for n, file in enumerate(self.files) if file.examples), 0)
        file, self._held = self._file(number), None  # a file decodes for one at a time
        names = [field.name for field in file.schema_arrow if feature_of(field.type)]
        try:
            head = next(file.iter_batches(FIRST_ROWS, row_groups=[0], columns=names), None) if file.num_row_groups else None
        except (OSError, pa.ArrowException) as exc:
            raise _broken(self.files[number].path, exc, ", row group 0") from exc
        features = {}
        for name in names:
            feature = feature_of(file.schema_arrow.field(name).type, None if head is None else head.column(name))
            assert feature is not None
            features[name] = feature
        return features

    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Cut rows out of their row groups."""
        groups, chosen, most = self._groups[number], self.chosen, size * max(1, BLOCK // size)
        while start < stop:
            group = int(np.searchsorted(groups, start, side="right")) - 1
            base, end = int(groups[group]), min(stop, int(groups[group + 1]))
            while start < end:
                first, batch = self._batch(number, group, start - base, tuple(chosen), size)
                part = batch.slice(start - base - first, min(end - start, most))  # as arrays they may take many times as much
                yield Piece(start, {name: from_arrow(part.column(name), feature) for name, feature in chosen.items()})
                start += part.num_rows

    def _batch(self, number: int, group: int, row: int, names: tuple[str, ...], size: int) -> tuple[int, Any]:
        """Return the decoded rows that hold a row of a group, and the first of them."""
        import pyarrow as pa

        path, place = self.files[number].path, (number, group, names)
        held, self._held = self._held, None  # before another is read, and where this one fails
        try:
            if held is None or held[0] != place or row < held[1].first:
                held = (place, self._rows(number, group, names, size))
            decoded = held[1].at(row)
        except EOFError as exc:
            raise DataError(f"{path}, row group {group}: expected row {row}, found {exc}; copy or write the file again") from exc
        except (OSError, pa.ArrowException) as exc:
            raise _broken(path, exc, f", row group {group}") from exc
        self._held = held
        return decoded

    def _rows(self, number: int, group: int, names: tuple[str, ...], size: int) -> GroupRows:
        file, groups = self._file(number), self._groups[number]
        path, known = self.files[number].path, file.schema_arrow.names
        if missing := [name for name in names if name not in known]:
            raise DataError(f"{path}: no column '{missing[0]}': {nearest(missing[0], known)}")
        expected = int(groups[group + 1] - groups[group])
        rows = file.metadata.row_group(group).num_rows if group < file.num_row_groups else 0
        if rows != expected:
            raise DataError(f"{path}, row group {group}: expected {expected} rows, found {rows}; has the file changed?")
        return GroupRows(file, group, names, size)

    def _file(self, number: int) -> Any:
        if self._opened is None or self._opened[0] != number:
            self._opened = (number, _open(self.files[number].path))
        return self._opened[1]


def _describe(path: str) -> tuple[int, np.ndarray, Any]:
    """Return a file's size, the bounds of its row groups, and its schema."""
    file = _open(path)
    names = file.schema_arrow.names
    if len(set(names)) < len(names):
        raise DataError(f"{path}: expected unlike names of columns, found {', '.join(names)}")
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return storage.size_bytes(path), np.cumsum([0, *rows], dtype=np.int64), file.schema_arrow.remove_metadata()


def _open(path: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = open_range(path)  # raises a DataError that names what is wrong with it
    try:
        if storage.is_url(path):
            return pq.ParquetFile(pa.PythonFile(stored.stream(), mode="r"), pre_buffer=True, page_checksum_verification=True)
        stored.close()
        # With buffers a column chunk is not in memory as a whole.
        return pq.ParquetFile(path, page_checksum_verification=True, buffer_size=READ_BYTES)
    except (OSError, pa.ArrowException) as exc:
        raise _broken(path, exc) from exc


def _broken(path: str, exc: BaseException, where: str = "") -> DataError:
    cause: BaseException | None = exc
    while cause is not None:  # what the storage said goes through Arrow
        if isinstance(cause, DataError):
            return cause
        cause = cause.__cause__ or cause.__context__
    reason = " ".join(str(exc).split())[:300]
    return DataError(f"{path}{where}: not a readable Parquet file: {reason}; copy or write it again")


def _show(schema: Any) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)

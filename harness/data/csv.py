"""CSV and TSV files with a header. Cut at line borders, quoted newlines and all; packed ones are read as a whole."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from harness.data import storage
from harness.data.columns import BLOCK, Column, ColumnSource, Piece, blank, feature_of, from_arrow
from harness.data.counting import FileCount, count
from harness.data.lines import Lines, blocks, lines_of, look
from harness.data.source import Feature, Origin
from harness.errors import DataError, nearest

__all__ = ["CsvSource", "open_csv", "open_tsv", "survey_csv"]

FIRST_ROWS = 4096  # that tell the types
SHOWN = 100  # characters of a first line
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
CONVERT = 1 << 20  # bytes that Arrow converts at a time: as many as a processor's cache holds


def open_csv(origin: Origin) -> CsvSource:
    """Open files whose fields are separated by commas; see `CsvSource.open`."""
    return CsvSource.open(origin.paths, delimiter=",", counts=origin.counts)


def open_tsv(origin: Origin) -> CsvSource:
    """Open files whose fields are separated by tabs; see `CsvSource.open`."""
    return CsvSource.open(origin.paths, delimiter="\t", counts=origin.counts)


def survey_csv(origin: Origin) -> list[FileCount]:
    """Look at CSV or TSV files; see `lines.look`."""
    return storage.map_files(lambda path: look(path, quotes=True), origin.paths)


class CsvSource(ColumnSource):
    """Examples in CSV files.

    Args:
      lines: of each file.
      delimiter: between fields.
    """

    def __init__(self, lines: Sequence[Lines], delimiter: str) -> None:
        super().__init__(tuple(file_lines.file for file_lines in lines))
        self._lines = lines
        self._delimiter = delimiter

    @classmethod
    def open(cls, paths: Sequence[str], *, delimiter: str, counts: Sequence[FileCount] | None = None) -> CsvSource:
        """Find the lines, and compare the headers.

        Args:
          counts: of the files, where they are counted already.
        Raises: DataError: a file cannot be read, or has other columns than the first.
        """
        counts = count(survey_csv(Origin(paths))) if counts is None else counts
        lines = storage.map_files(lines_of, counts)
        source = cls(lines, delimiter)
        first = None
        for path, file_lines in zip(paths, lines, strict=True):
            if not file_lines.header:
                raise DataError(f"{path}: expected a first line with the names of the columns, found an empty file")
            names = source.names(file_lines)
            source.check_header(file_lines, names)
            if len(set(names)) < len(names):
                raise DataError(f"{path}: expected unlike names of columns, found {', '.join(names)}")
            first = first or names
            if names != first:
                raise DataError(
                    f"{path}: expected the columns of {paths[0]} ({', '.join(first)}), found {', '.join(names)}; "
                    "files of one job must agree in their first line"
                )
        return source

    @property
    def counted(self) -> tuple[str, ...]:
        """All files: where records end is known when all before it has been read."""
        return tuple(file.path for file in self.files)

    @property
    def text(self) -> bool:
        """Whatever a column looks like in the first rows."""
        return True

    def names(self, lines: Lines) -> list[str]:
        """Return the names of a file's columns.

        Raises: DataError: its first line is none of names.
        """
        import csv

        path = lines.file.path
        rows = csv.reader(io.StringIO(lines.header.decode("utf-8", "replace"), newline=""), delimiter=self._delimiter)
        try:
            names, *others = itertools.islice(rows, 2)
        except csv.Error as exc:
            raise DataError(
                f"{path}: expected a first line with the names of the columns, found none: {exc}; is it text?"
            ) from exc
        if others:
            raise DataError(
                f"{path}: expected lines that end with a newline, found carriage returns alone, as old Macs wrote them: "
                f"tr '\\r' '\\n' < {path} > NEW"
            )
        return names

    def check_header(self, lines: Lines, names: Sequence[str]) -> None:
        """See that the first line is one of names, and has the separator that is expected.

        Raises: DataError: it is another separator's, or holds values.
        """
        path = lines.file.path
        if len(names) == 1 and (found := next((mark for mark in SEPARATORS if mark in names[0]), None)):
            advice = (
                "say data.format: tsv" if found == "\t" else f"write the file with {SEPARATORS[self._delimiter]} between columns"
            )
            raise DataError(
                f"{path}: expected {SEPARATORS[self._delimiter]} between columns, found one column named '{names[0][:SHOWN]}', "
                f"which {SEPARATORS[found]} seem to divide; {advice}"
            )
        if len(names) > 1 and all(map(_is_number, names)) and not all(name.strip().isdigit() for name in set(names)):
            raise DataError(
                f"{path}: expected a first line with the names of the columns, found numbers: {', '.join(names)[:SHOWN]}; write "
                "a line of names above them, by which a job calls the columns"
            )

    @cached_property
    def _types(self) -> dict[str, Feature]:
        number = next((n for n, file in enumerate(self.files) if file.examples), 0)
        lines = self._lines[number]
        if not lines.records:
            return {}
        *_, data = next(blocks(lines, 0, min(FIRST_ROWS, lines.records), FIRST_ROWS))
        table = self._table(lines, data, {})
        if isinstance(table, str):
            raise DataError(f"{lines.file.path}: not a readable CSV file: {table}")
        features = {field.name: feature_of(field.type) for field in table.schema}
        # Dates, times and columns without a value stay the text they are.
        plain = {f.name: f.type for f in table.schema}
        return {
            name: feature if feature and not _is_temporal(plain[name]) else Feature("string", ())
            for name, feature in features.items()
        }

    def features(self) -> dict[str, Feature]:
        """Return the columns, with the types that the first rows have."""
        return dict(self._types)

    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Convert blocks of lines."""
        lines = self._lines[number]
        names = self.names(lines)
        for name in self.chosen:
            if name not in names:
                raise DataError(f"{lines.file.path}: no column '{name}': {nearest(name, names)}")
        for first, last, data in blocks(lines, start, stop, max(BLOCK, size)):
            low, high = max(start - first, 0), min(stop, last) - first
            table = self._table(lines, data, self.chosen)
            if not isinstance(table, str) and table.num_rows == last - first:
                part = table.slice(low, high - low)
                yield Piece(first + low, {name: from_arrow(part.column(name), f) for name, f in self.chosen.items()})
            else:
                yield self._one_by_one(lines, data, first, low, high, last - first)

    def where(self, number: int, record: int) -> str:
        """Count rows as a user does: the header is the first line."""
        return f"{self.files[number].path}, row {record} (the first below the header is 0)"

    def _table(self, lines: Lines, data: bytes, chosen: Any) -> Any:
        """Convert a block; a text where it cannot be."""
        if chosen and len(data) > CONVERT:
            table = self._converted(lines, data, chosen, CONVERT)
            if not isinstance(table, str):
                return table  # else a row may have been too long: all at once says what is wrong
        return self._converted(lines, data, chosen, max(len(data) + 1, 1 << 16))

    def _converted(self, lines: Lines, data: bytes, chosen: Any, at_once: int) -> Any:
        import pyarrow as pa
        import pyarrow.csv as pc

        types = {"string": pa.binary(), "bool": pa.bool_()}
        kinds = {n: types.get(f.dtype) or pa.from_numpy_dtype(np.dtype(f.dtype)) for n, f in chosen.items() if f.dtype != "uint8"}
        boolean = {n for n in chosen if n in self._types and self._bools and n in self._bools} if chosen else set()
        for name in boolean:
            kinds[name] = pa.bool_()
        if not chosen:
            data = data.decode(errors="replace").encode()  # pyarrow hands on a row that it skips as text
        try:
            return pc.read_csv(
                pa.BufferReader(data),
                read_options=pc.ReadOptions(column_names=self.names(lines), use_threads=at_once < len(data), block_size=at_once),
                parse_options=pc.ParseOptions(
                    # Without quotes a newline ends a row: a tenth less work.
                    delimiter=self._delimiter,
                    newlines_in_values=b'"' in data,
                    invalid_row_handler=None if chosen else _skip_row,
                ),
                convert_options=pc.ConvertOptions(
                    column_types=kinds or None, include_columns=list(chosen) or None, strings_can_be_null=False
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError, pa.ArrowNotImplementedError) as exc:
            return " ".join(str(exc).split())[:300]

    @cached_property
    def _bools(self) -> set[str]:
        """Columns of true and false: numbers to us, not to the converter."""
        import pyarrow as pa

        number = next((n for n, file in enumerate(self.files) if file.examples), 0)
        lines = self._lines[number]
        *_, data = next(blocks(lines, 0, min(FIRST_ROWS, lines.records), FIRST_ROWS))
        table = self._table(lines, data, {})
        return set() if isinstance(table, str) else {f.name for f in table.schema if pa.types.is_boolean(f.type)}

    def _one_by_one(self, lines: Lines, data: bytes, first: int, low: int, high: int, count: int) -> Piece:
        """Find the rows of a block that cannot be converted."""
        rows = _rows(data)
        if len(rows) != count:
            raise DataError(
                f"{lines.file.path}, rows {first}..{first + count}: expected {count} rows, found {len(rows)}; "
                "quotes within a field must be doubled; has the file changed?"
            )
        chosen = self.chosen
        columns = {name: blank(feature, high - low) for name, feature in chosen.items()}
        bad = np.zeros(high - low, bool)
        why = ""
        for at, row in enumerate(rows[low:high]):
            table = self._table(lines, row, chosen)
            if isinstance(table, str) or table.num_rows != 1:
                why = why or (table if isinstance(table, str) else f"expected one row, found {table.num_rows}")
                bad[at] = True
                continue
            for name, feature in chosen.items():
                column = from_arrow(table.column(name), feature)
                columns[name][at] = column.values[0]
                if column.bad is not None and column.bad[0]:
                    bad[at], why = True, why or column.why
        name = next(
            (name for name in chosen if f"column #{self.names(lines).index(name)}:" in why or f"'{name}'" in why),
            next(iter(chosen)),
        )
        return Piece(first + low, {n: Column(values, bad if n == name else None, why) for n, values in columns.items()})


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _skip_row(row: Any) -> str:
    """Leave out what has too few or too many fields, while types are looked for."""
    del row
    return "skip"


def _rows(data: bytes) -> list[bytes]:
    """Cut a block at newlines outside quotes; empty lines left out."""
    view = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(view == 10)
    marks = np.flatnonzero(view == 34)
    ends = ends[np.searchsorted(marks, ends) % 2 == 0]
    bounds = [0, *(ends + 1).tolist(), len(data)]
    parts = [data[a:b] for a, b in itertools.pairwise(bounds)]
    return [part for part in parts if part.strip(b"\r\n")]


def _is_temporal(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_temporal(kind) or pa.types.is_null(kind))

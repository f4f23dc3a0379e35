"""JSON lines: an object a line. Cut at line borders; packed files are read as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from harness.data import storage
from harness.data.columns import BLOCK, Column, ColumnSource, Piece, blank, feature_of, from_arrow
from harness.data.counting import FileCount, count
from harness.data.json_table import inferred, table_of
from harness.data.lines import Lines, blocks, lines_of, look
from harness.data.source import Feature, Origin
from harness.errors import DataError, nearest

__all__ = ["JsonlSource", "open_jsonl", "survey_jsonl"]

FIRST_ROWS = 1024  # that tell names, types and lengths of lists
SHOWN = 80  # bytes of a line, in messages
PART = 100_000  # bytes looked at at a time: memory for more is given back to the system each time
GAPS = (b"}\n{", b"}\r\n{")  # between objects, as most files have it
ANY_GAP = re.compile(rb"\}[ \t\r]*\n[ \t\r\n]*\{")


def open_jsonl(origin: Origin) -> JsonlSource:
    """Open files of JSON lines; see `JsonlSource.open`."""
    return JsonlSource.open(origin.paths, origin.counts)


def survey_jsonl(origin: Origin) -> list[FileCount]:
    """Look at files of JSON lines; see `lines.look`."""
    return storage.map_files(lambda path: look(path, quotes=False), origin.paths)


class JsonlSource(ColumnSource):
    """Examples in files of JSON lines.

    Args:
      lines: of each file.
    """

    def __init__(self, lines: Sequence[Lines]) -> None:
        super().__init__(tuple(file_lines.file for file_lines in lines))
        self._lines = lines

    @classmethod
    def open(cls, paths: Sequence[str], counts: Sequence[FileCount] | None = None) -> JsonlSource:
        """Find the lines.

        Args:
          counts: of the files, where they are counted already.
        Raises: DataError: a file cannot be read.
        """
        counts = count(survey_jsonl(Origin(paths))) if counts is None else counts
        return cls(storage.map_files(lines_of, counts))

    @property
    def counted(self) -> tuple[str, ...]:
        """All files: where records end is known when all before it has been read."""
        return tuple(file.path for file in self.files)

    @cached_property
    def _types(self) -> dict[str, Feature]:
        import pyarrow as pa

        number = next((n for n, file in enumerate(self.files) if file.examples), 0)
        lines = self._lines[number]
        if not lines.records:
            return {}
        *_, data = next(blocks(lines, 0, min(FIRST_ROWS, lines.records), FIRST_ROWS))
        table = inferred(data)
        if isinstance(table, str):
            for row, line in enumerate(_rows(data)):
                problem = inferred(line)
                if isinstance(problem, str):
                    raise DataError(f"{lines.file.path}, line {row}: expected a JSON object, found {line[:SHOWN]!r}: {problem}")
            raise DataError(f"{lines.file.path}: the first {len(_rows(data))} lines do not agree: {table}")
        features = {}
        for field in table.schema:
            feature = feature_of(field.type, pa.concat_arrays(table.column(field.name).chunks))
            if feature:
                features[field.name] = feature
        return features

    def features(self) -> dict[str, Feature]:
        """Return what the first lines have."""
        return dict(self._types)

    def where(self, number: int, record: int) -> str:
        """Say line."""
        return f"{self.files[number].path}, line {record}"

    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Convert blocks of lines."""
        lines = self._lines[number]
        known = self._types
        for name in self.chosen:
            if name not in known:
                raise DataError(f"{lines.file.path}: no key '{name}' in the first lines: {nearest(name, known)}")
        for first, last, data in blocks(lines, start, stop, max(BLOCK, size)):
            low, high = max(start - first, 0), min(stop, last) - first
            table = table_of(data, self.chosen)
            if (
                not isinstance(table, str)
                and _a_line_each(data, table.num_rows, last - first)
                and not any(table.column(n).null_count for n in self.chosen)
            ):
                part = table.slice(low, high - low)
                yield Piece(first + low, {name: from_arrow(part.column(name), f) for name, f in self.chosen.items()})
            else:
                yield self._one_by_one(data, number, first, low, high, last - first)

    def _one_by_one(self, data: bytes, number: int, first: int, low: int, high: int, count: int) -> Piece:
        """Find the lines of a block that cannot be converted."""
        chosen = self.chosen
        columns = {name: blank(feature, high - low) for name, feature in chosen.items()}
        bad = np.zeros(high - low, bool)
        rows = _rows(data)
        if len(rows) != count:
            raise DataError(
                f"{self.files[number].path}, lines {first}..{first + count}: expected {count} lines, found {len(rows)}; "
                "has the file changed?"
            )
        for at, line in enumerate(rows[low:high]):
            values, problem = _example(line, chosen)
            if problem and not self._skip:
                raise DataError(f"{self.where(number, first + low + at)}: {problem}")
            bad[at] = bool(problem)
            for name, value in values.items():
                columns[name][at] = value
        # A record is bad as a whole: any of its columns can say so.
        head = next(iter(chosen))
        return Piece(first + low, {name: Column(values, bad if name == head else None) for name, values in columns.items()})


def _a_line_each(data: bytes, objects: int, lines: int) -> bool:
    r"""Say whether each line of a block holds one object, and so the object of a row is that of its line.

    As many objects as lines are not enough: a line with two makes up for one with none, or for an object of two lines.
    But each object has lines of its own if a newline lies between it and the next. It has one line each if there are as
    many lines, empty ones not counted, as objects. That newline follows `}` and comes before `{`. Nowhere else in JSON do
    these follow each other: within an object a comma or a bracket lies between, and a text has no newline.

    Args:
      data: the block; Arrow has read it as objects, so it is JSON.
      objects, lines: how many of them were read, and how many lines that are not empty were counted.

    >>> _a_line_each(b'{"a":1}\n{"a":2}\n', 2, 2), _a_line_each(b'{"a":1} {"a":2}\n  \n', 2, 2)
    (True, False)
    """
    if objects != lines:
        return False
    return any(_occurrences(data, gap) == objects - 1 for gap in GAPS) or len(ANY_GAP.findall(data)) == objects - 1


def _occurrences(data: bytes, gap: bytes) -> int:
    r"""Count a few bytes in many, in a third of the time that bytes.count takes.

    >>> _occurrences(b"}\n{}\n{", b"}\n{"), _occurrences(b"", b"}\n{")
    (2, 0)
    """
    view, found = np.frombuffer(data, np.uint8), 0
    last = len(view) - len(gap) + 1
    for start in range(0, last, PART):
        stop = min(start + PART, last)
        hits = view[start:stop] == gap[0]
        for at, byte in enumerate(gap[1:], 1):
            hits &= view[start + at : stop + at] == byte
        found += int(np.count_nonzero(hits))
    return found


def _example(line: bytes, chosen: Mapping[str, Feature]) -> tuple[dict[str, Any], str]:
    """Convert a line: the values of its columns, and what is wrong with it, "" where nothing is."""
    table = table_of(line, chosen)
    if isinstance(table, str):
        return {}, f"{_reason(line, chosen, table)}: {line[:SHOWN]!r}"
    if not table.num_rows:
        return {}, "expected an object, found a line of blanks"
    if table.num_rows > 1:
        return {}, f"expected one object, found {table.num_rows}: {line[:SHOWN]!r}"
    values, problem = {}, ""
    for name, feature in chosen.items():
        column = _missing(table, name) or from_arrow(table.column(name), feature)
        if column.values.size:
            values[name] = column.values[0]
        if column.bad is not None and column.bad[0]:
            problem = problem or f"column '{name}': {column.why}"
    return values, problem


def _reason(line: bytes, chosen: Mapping[str, Feature], problem: str) -> str:
    """Say which column a line is refused for, or that it is no JSON."""
    for name, feature in ({} if isinstance(table_of(line, {}), str) else chosen).items():
        if isinstance(table := table_of(line, {name: feature}), str):
            problem = f"column '{name}': expected {feature}: {table}"
            break
    return problem.removesuffix(" in row 0")


def _missing(table: Any, name: str) -> Column | None:
    if table.column(name).null_count:
        return Column(np.empty(0), np.ones(1, bool), "expected a value, found null or no such key")
    return None


def _rows(data: bytes) -> list[bytes]:
    """Cut a block into its lines; those that counting leaves out are left out."""
    return [line for line in data.split(b"\n") if line not in (b"", b"\r")]

"""What formats of columns have in common: walking over files, Arrow columns as NumPy arrays, bad records."""

from __future__ import annotations

import copy
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.data.source import BAD, Feature, Kind, Records, Source
from harness.errors import DataError
from harness.plan.plan import File

__all__ = ["Column", "ColumnSource", "Piece", "blank", "feature_of", "from_arrow", "limit_threads"]

BLOCK = 4096  # examples converted at a time, at least


@dataclass(frozen=True)
class Column:
    """Values [n, ...] of one feature, which of them are bad bool [n] (None: none), and why."""

    values: np.ndarray
    bad: np.ndarray | None = None
    why: str = ""


@dataclass(frozen=True)
class Piece:
    """A run of one file's records: the number of the first as it was found, and its columns."""

    first: int
    columns: Mapping[str, Column]


class ColumnSource(Source):
    """Examples whose features are columns.

    Args:
      files: with their example counts.
    """

    def __init__(self, files: tuple[File, ...]) -> None:
        self.files = files
        self._starts = np.concatenate([[0], np.cumsum([f.examples for f in files])]).astype(np.int64)
        self._wanted: Mapping[str, Feature] | None = None
        self._skip = False

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> Source:
        """Return the same with fewer columns."""
        chosen = copy.copy(self)
        chosen._wanted, chosen._skip = dict(wanted), skip
        return chosen

    @property
    def chosen(self) -> Mapping[str, Feature]:
        """The features that are read."""
        return self.features() if self._wanted is None else self._wanted

    @abstractmethod
    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Read records [start, stop) of a file, about `size` or more at a time; a piece never has more than was asked for."""

    def where(self, number: int, record: int) -> str:
        """Say where a record lies."""
        return f"{self.files[number].path}, row {record}"

    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Read rows, file by file."""
        while start < stop:
            number = int(np.searchsorted(self._starts, start, side="right")) - 1
            base, end = int(self._starts[number]), min(stop, int(self._starts[number + 1]))
            for piece in self.pieces(number, start - base, end - base, size):
                raw = self._raw(number, piece)
                count = len(next(iter(raw.values())))
                ids = np.arange(base + piece.first, base + piece.first + count, dtype=np.int64)
                for at in range(0, count, size):
                    yield Records(ids[at : at + size], {name: array[at : at + size] for name, array in raw.items()})
            start = end

    def _raw(self, number: int, piece: Piece) -> dict[str, np.ndarray]:
        raw = {name: column.values for name, column in piece.columns.items()}
        bad = np.zeros(len(next(iter(raw.values()))), bool)
        for name, column in piece.columns.items():
            if column.bad is None or not column.bad.any():
                continue
            if not self._skip:
                record = piece.first + int(np.argmax(column.bad))
                raise DataError(f"{self.where(number, record)}: column '{name}': {column.why}")
            bad |= column.bad
        if self._skip:
            from harness.data import pictures

            for name, feature in self.chosen.items():
                if feature.kind is Kind.IMAGE:
                    bad |= pictures.broken(raw, name)
            raw[BAD] = bad
        return raw

    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Return the wanted columns, images decoded."""
        from harness.data import pictures

        return {
            name: pictures.decode(raw[name], feature) if feature.kind is Kind.IMAGE else raw[name]
            for name, feature in wanted.items()
        }

    def explain(self, start: int, stop: int, wanted: Mapping[str, Feature]) -> str | None:
        """Read again; columns of images are decoded one by one."""
        from harness.data import pictures

        for records in self.select(wanted).read(start, stop, BLOCK):
            for name, feature in wanted.items():
                if feature.kind is Kind.IMAGE and (broken := pictures.broken(dict(records.raw), name)).any():
                    example = int(records.ids[int(np.argmax(broken))])
                    number = int(np.searchsorted(self._starts, example, side="right")) - 1
                    return f"{self.where(number, example - int(self._starts[number]))}: '{name}' is no readable JPEG or PNG image"
        return None


def limit_threads(threads: int) -> None:
    """Let Arrow use no more threads than a rank has; nothing where no format that needs it is open."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].set_cpu_count(max(1, threads))


def blank(feature: Feature, count: int) -> np.ndarray:
    """Return made-up values for bad records: zeros, or empty strings."""
    shape = [count, *(() if feature.kind is Kind.IMAGE else (d or 0 for d in feature.shape))]
    if feature.dtype == "string" or feature.kind is Kind.IMAGE:
        values = np.empty(shape, object)
        values.fill(b"")
        return values
    return np.zeros(shape, feature.dtype)


def feature_of(kind: Any, column: Any = None) -> Feature | None:
    """Say what feature an Arrow type is; None where it is none (structs, maps).

    Args:
      kind: pyarrow.DataType.
      column: some values of it, that tell the lengths of lists; None leaves them open.
    """
    import pyarrow as pa

    shape: list[int | None] = []
    while pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if pa.types.is_fixed_size_list(kind):
            shape.append(kind.list_size)
        else:
            lengths = set() if column is None else set(column.value_lengths().drop_null().to_pylist())
            shape.append(lengths.pop() if len(lengths) == 1 else None)
        column = None if column is None else column.flatten()
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        return Feature("int64", tuple(shape))
    if pa.types.is_decimal(kind):
        return Feature("float64", tuple(shape))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return Feature(np.dtype(kind.to_pandas_dtype()).name, tuple(shape))
    strings = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if any(is_kind(kind) for is_kind in (*strings, pa.types.is_fixed_size_binary)):
        return Feature("string", tuple(shape))
    return None


def from_arrow(column: Any, feature: Feature) -> Column:
    """Turn an Arrow column into a NumPy array of a feature's dtype and shape.

    Args:
      column: pyarrow Array or ChunkedArray [n].
      feature: what it should be.
    Returns: values [n, ...]; a null number is NaN where the dtype has one, else bad.
    """
    import pyarrow as pa

    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    # Of a single chunk `combine_chunks` would make a copy.
    array = chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks or [pa.array([], column.type)])
    count = len(array)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if feature.kind is Kind.IMAGE or not feature.shape:
        return _flat(array, feature)
    if feature.kind is Kind.VARIABLE:
        return _padded(array, feature)
    whole = array
    for size in feature.shape:
        if not (pa.types.is_list(array.type) or pa.types.is_large_list(array.type) or pa.types.is_fixed_size_list(array.type)):
            return Column(blank(feature, count), np.ones(count, bool), f"expected {feature}, found {array.type}")
        if array.null_count or not pa.types.is_fixed_size_list(array.type) or array.type.list_size != size:
            lengths = array.value_lengths().to_numpy(zero_copy_only=False)
            lengths = np.where(np.isnan(lengths), -1, lengths).astype(np.int64)
            wrong = lengths != size
            if wrong.any():
                return _row_by_row(whole, feature, lengths[wrong][0])
        array = array.flatten()
    flat = _flat(array, Feature(feature.dtype, ()))
    values = flat.values.reshape(count, *(d or 0 for d in feature.shape))
    bad = None if flat.bad is None else np.asarray(flat.bad.reshape(count, -1).any(axis=1))
    return Column(values, bad, flat.why)


def _row_by_row(array: Any, feature: Feature, length: int) -> Column:
    """Convert what is good, fill in what is not; `length` is that of the first list that is wrong."""
    description = f"a list of {length}" if length >= 0 else "null"
    if len(array) == 1:
        return Column(blank(feature, 1), np.ones(1, bool), f"expected {feature}, found {description}")
    rows = [from_arrow(array.slice(at, 1), feature) for at in range(len(array))]
    bad = np.array([row.bad is not None and bool(row.bad[0]) for row in rows])
    return Column(np.concatenate([row.values for row in rows]), bad, rows[int(np.argmax(bad))].why)


def _padded(array: Any, feature: Feature) -> Column:
    """Lists of any length up to the shape, filled up."""
    most, count = int(feature.shape[0] or 0), len(array)
    values = np.full(
        [count, most], feature.pad if feature.dtype != "string" else None, object if feature.dtype == "string" else feature.dtype
    )
    if feature.dtype == "string":
        values.fill(str(feature.pad).encode())
    lengths = np.nan_to_num(array.value_lengths().to_numpy(zero_copy_only=False), nan=0).astype(np.int64)
    flat = _flat(array.flatten(), Feature(feature.dtype, ()))
    row = np.repeat(np.arange(count), lengths)
    at = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    fits = at < most
    values[row[fits], at[fits]] = flat.values[fits]
    bad = lengths > most
    if flat.bad is not None:
        bad[row[flat.bad]] = True
    return Column(
        values, bad if bad.any() else None, flat.why or f"expected at most {most} values, found {lengths.max(initial=0)}"
    )


def _flat(array: Any, feature: Feature) -> Column:
    """Convert values that are no lists."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nulls = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if feature.dtype == "string" or feature.kind is Kind.IMAGE:
        if pa.types.is_fixed_size_binary(array.type):
            array = array.cast(pa.binary())
        if not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
            array = (array if pa.types.is_string(array.type) else array.cast(pa.large_string())).cast(pa.large_binary())
        values = np.empty(len(array), object)
        values[:] = (array.fill_null(b"") if nulls is not None else array).to_numpy(zero_copy_only=False)
        return Column(values)  # a missing text is an empty one
    target = np.dtype(feature.dtype)
    try:
        if pa.types.is_boolean(array.type):
            array = array.cast(pa.int8())
        elif pa.types.is_decimal(array.type):
            array = array.cast(pa.float64())
        elif pa.types.is_temporal(array.type):
            array = array.cast(pa.int64() if array.type.bit_width == 64 else pa.int32())
        if nulls is not None:
            array = pc.fill_null(array, np.nan if pa.types.is_floating(array.type) else 0)
        numbers = array.to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as exc:
        return Column(blank(feature, len(array)), np.ones(len(array), bool), f"expected {feature}, found {array.type}: {exc}")
    if numbers.dtype.kind not in "iuf" or (numbers.dtype.kind == "f" and target.kind in "iu"):
        return Column(blank(feature, len(array)), np.ones(len(array), bool), f"expected {feature}, found {array.type}")
    if nulls is not None and target.kind == "f":
        numbers = np.where(nulls, np.nan, numbers)
        nulls = None
    return Column(numbers.astype(target, copy=False), nulls, "expected a number, found null")

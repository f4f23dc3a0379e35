"""The file formats of predictions: some examples' columns to bytes and back. Pure: the same columns, the same bytes.

Parquet keeps every dtype. A `tf.train.Example` holds float32, int64 and bytes only. JSON has no NaN and no infinity:
they are written as the strings "NaN", "Infinity" and "-Infinity", as protobuf's JSON does.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.errors import DataError, HarnessError, JobError

__all__ = ["SUFFIXES", "Column", "check_format", "decode", "encode"]

SUFFIXES = {"parquet": "parquet", "tfrecord": "tfrecord", "jsonl": "jsonl"}
WIDENED = {"float16": "float32", "bfloat16": "float32"}  # formats and readers that know them are rare; nothing is lost
ODD_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Column:
    """One column of the predictions.

    Attributes:
      name: in the files.
      kind: "id", "output" or "feature".
      source: name of the output or feature.
      dtype: NumPy name, or "string".
      shape: of one example; None is a size that differs.
      text: whether its strings are UTF-8.
    """

    name: str
    kind: str
    source: str
    dtype: str
    shape: tuple[int | None, ...]
    text: bool = True

    @property
    def stored(self) -> str:
        """The dtype in the file."""
        return WIDENED.get(self.dtype, self.dtype)


def check_format(kind: str, columns: Sequence[Column]) -> None:
    """Refuse what a format cannot keep.

    Raises: JobError: a column has such a dtype.

    >>> check_format("tfrecord", [Column("p", "output", "p", "float64", ())])
    Traceback (most recent call last):
    harness.errors.JobError: predictions: 'p' is float64, a tf.train.Example keeps float32, int64, bytes; choose format: parquet
    """
    for column in columns:
        plain = column.dtype in ("string", "bool") or np.dtype(column.stored).kind in "fiu"
        if not plain:
            raise JobError(f"predictions: '{column.name}' is {column.dtype}, which no format keeps; leave it out of outputs")
        if kind == "tfrecord" and column.stored in ("float64", "uint64"):
            raise JobError(
                f"predictions: '{column.name}' is {column.dtype}, a tf.train.Example keeps float32, int64, bytes; "
                "choose format: parquet"
            )


def encode(kind: str, columns: Sequence[Column], batches: Sequence[Sequence[np.ndarray]]) -> bytes:
    """Write examples.

    Args:
      kind: parquet, tfrecord or jsonl.
      columns: what there is.
      batches: of each column its values, arrays [n, ...] whose inner sizes may differ from one to the next.
    Raises: HarnessError: a string is no UTF-8 text.
    """
    joined = [[part.astype(column.stored) if column.dtype in WIDENED else part for part in _joined(parts)]
              for column, parts in zip(columns, batches, strict=True)]  # fmt: skip
    for column, parts in zip(columns, joined, strict=True):
        if column.dtype == "string" and column.text:
            _check_text(column, parts, joined[0])
    return {"parquet": _to_parquet, "tfrecord": _to_tfrecord, "jsonl": _to_jsonl}[kind](columns, joined)


def decode(kind: str, columns: Sequence[Column], data: bytes, where: str) -> dict[str, np.ndarray]:
    """Read what `encode` wrote: by column name [n, ...].

    Raises: DataError: it is not what was written.
    """
    try:
        return {"parquet": _from_parquet, "tfrecord": _from_tfrecord, "jsonl": _from_jsonl}[kind](columns, data)
    except (ValueError, KeyError, TypeError, IndexError, struct.error, binascii.Error) as exc:  # ArrowInvalid is a ValueError
        raise DataError(f"{where}: cannot be read: {type(exc).__name__}: {exc}") from exc


def _joined(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Join arrays of one inner shape; leave others apart."""
    return [np.concatenate(parts)] if len({part.shape[1:] for part in parts}) == 1 else list(parts)


def _check_text(column: Column, parts: Sequence[np.ndarray], ids: Sequence[np.ndarray]) -> None:
    every = np.concatenate(ids) if ids else np.zeros(0, np.int64)
    at = 0
    for part in parts:
        for values in part:
            for value in _flat(values):
                try:
                    value.decode()
                except UnicodeDecodeError:
                    raise HarnessError(
                        f"predictions: {column.kind} '{column.source}' of example {every[at]} is no UTF-8 text; "
                        f"keep it as bytes: predictions: {{bytes: [{column.source}]}}"
                    ) from None
            at += 1


def _flat(value: Any) -> list[Any]:
    """Return the values of one example as a list; NumPy would cut the zeros off the end of a single string."""
    return [value] if isinstance(value, bytes) else np.ravel(value).tolist()


def _to_parquet(columns: Sequence[Column], batches: Sequence[Sequence[np.ndarray]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = [pa.concat_arrays([_arrow(column, part) for part in parts]) for column, parts in zip(columns, batches, strict=True)]
    table = pa.Table.from_arrays(arrays, names=[column.name for column in columns])
    out = io.BytesIO()
    # One row group and fixed settings: the bytes depend on the values and on pyarrow's version alone.
    pq.write_table(table, out, row_group_size=max(len(table), 1), compression="zstd", version="2.6", store_schema=False)
    return out.getvalue()


def _arrow(column: Column, part: np.ndarray) -> Any:
    import pyarrow as pa

    if column.dtype == "string":
        values = pa.array(part.ravel().tolist(), pa.binary())
        values = values.cast(pa.string()) if column.text else values
    else:
        values = pa.array(np.ascontiguousarray(part).ravel())
    count = part.size
    for size in reversed(part.shape[1:]):
        count = count // size if size else int(np.prod(part.shape[: part.ndim - 1]))
        offsets = np.arange(0, (count + 1) * size, size, dtype=np.int32) if size else np.zeros(count + 1, np.int32)
        values = pa.ListArray.from_arrays(offsets, values)
    return values


def _from_parquet(columns: Sequence[Column], data: bytes) -> dict[str, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data), columns=[column.name for column in columns])
    arrays = {}
    for column in columns:
        values = table.column(column.name).combine_chunks()
        shape: list[int] = [len(values)]
        while pa.types.is_list(values.type):
            sizes = values.value_lengths().to_numpy(zero_copy_only=False)
            shape.append(int(sizes[0]) if len(sizes) else column.shape[len(shape) - 1] or 0)
            if len(sizes) and (sizes != sizes[0]).any():
                raise ValueError(f"the sizes of '{column.name}' differ from example to example")
            values = values.flatten()
        if column.dtype == "string":
            flat = np.array([*values.cast(pa.binary()).to_pylist(), None], object)[:-1]
        else:
            flat = values.to_numpy(zero_copy_only=False).astype(_dtype(column.dtype), copy=False)
        arrays[column.name] = flat.reshape(shape)
    return arrays


def _to_jsonl(columns: Sequence[Column], batches: Sequence[Sequence[np.ndarray]]) -> bytes:
    rows = [[row for part in parts for row in part] for parts in batches]
    lines = []
    for values in zip(*rows, strict=True):
        entry = {column.name: _json(column, value) for column, value in zip(columns, values, strict=True)}
        lines.append(json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n")
    return "".join(lines).encode()


def _json(column: Column, value: Any) -> Any:
    if column.dtype == "string":
        return _mapped(value, lambda v: v.decode() if column.text else base64.b64encode(v).decode())
    plain = np.asarray(value).tolist()
    if np.asarray(value).dtype.kind == "f" and not np.isfinite(value).all():
        return _mapped(
            plain, lambda v: v if math.isfinite(v) else "NaN" if math.isnan(v) else "Infinity" if v > 0 else "-Infinity"
        )
    return plain


def _mapped(value: Any, change: Any) -> Any:
    return [_mapped(element, change) for element in value] if isinstance(value, list | np.ndarray) else change(value)


def _from_jsonl(columns: Sequence[Column], data: bytes) -> dict[str, np.ndarray]:
    rows = [json.loads(line) for line in data.splitlines()]
    arrays = {}
    for column in columns:
        values = [row[column.name] for row in rows]
        if column.dtype == "string":
            values = _mapped(values, lambda v, text=column.text: v.encode() if text else base64.b64decode(v))
            arrays[column.name] = _objects(values, len(column.shape))
        else:
            if np.dtype(column.stored).kind == "f":
                values = _mapped(values, lambda v: ODD_FLOATS[v] if isinstance(v, str) else v)
            shape = [len(rows), *(d or 0 for d in column.shape)]
            arrays[column.name] = (np.array(values) if values else np.zeros(shape)).astype(_dtype(column.dtype))
    return arrays


def _objects(values: list[Any], depth: int) -> np.ndarray:
    """Return nested lists of bytes as an object array; NumPy by itself would cut off trailing zeros."""
    shape, level = [len(values)], values
    for _ in range(depth):
        shape.append(len(level[0]) if level else 0)
        level = [element for elements in level for element in elements]
    out = np.empty(len(level), object)
    out[:] = level
    return out.reshape(shape)


def _to_tfrecord(columns: Sequence[Column], batches: Sequence[Sequence[np.ndarray]]) -> bytes:
    import tensorflow as tf

    from harness.data import tfrecord_framing as framing

    rows = [[row for part in parts for row in part] for parts in batches]
    records = []
    for values in zip(*rows, strict=True):
        example = tf.train.Example()
        for column, value in zip(columns, values, strict=True):
            feature = example.features.feature[column.name]
            flat = _flat(value)
            if column.dtype == "string":
                feature.bytes_list.value.extend(flat)
            elif np.dtype(column.stored).kind == "f":
                feature.float_list.value.extend(flat)
            else:
                feature.int64_list.value.extend(int(v) for v in flat)
        records.append(framing.frame(example.SerializeToString(deterministic=True)))
    return b"".join(records)


def _from_tfrecord(columns: Sequence[Column], data: bytes) -> dict[str, np.ndarray]:
    import tensorflow as tf

    from harness.data import tfrecord_framing as framing

    intact = framing.cut_all(data, framing.starts(data)) if data else ([], None)
    if intact is None:
        raise ValueError("a record is corrupt or cut off")
    records, _ = intact
    specs = {}
    for column in columns:
        kind = "string" if column.dtype == "string" else "float32" if np.dtype(column.stored).kind == "f" else "int64"
        specs[column.name] = tf.io.FixedLenFeature([d or 0 for d in column.shape], kind)
    parsed = tf.io.parse_example(tf.constant(records, tf.string), specs)
    return {
        column.name: parsed[column.name].numpy().astype(object if column.dtype == "string" else _dtype(column.dtype))
        for column in columns
    }


def _dtype(name: str) -> Any:
    if name == "bfloat16":
        import tensorflow as tf

        return tf.bfloat16.as_numpy_dtype
    return np.dtype(name)

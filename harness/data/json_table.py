"""A block of JSON lines as an Arrow table, or what is wrong with it.

Knows JSON, not files, lines or records. What Arrow ends the process for is looked for before; what it takes for
something else than we do is asked for by its type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from harness.data.source import Feature, Kind

__all__ = ["inferred", "table_of"]

CONVERT = 1 << 20  # bytes that one of Arrow's threads converts at a time
DEEPEST = (
    500  # lists and objects in each other; Arrow's inference of types calls itself for each, and the stack ends at some 10,000
)
STRING = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*"?)', re.DOTALL)
BOOLEAN_KEY = re.compile(rb"(?:true|false)[ \t\r\n]*:")


def inferred(data: bytes) -> Any:
    """Return a block with all its keys, whose types are what the values are; a text where it cannot be.

    Texts that look like times are texts: a text of another look may follow.
    """
    import pyarrow as pa

    if (depth := _depth(data)) > DEEPEST:
        return f"expected lists and objects at most {DEEPEST} deep in each other, found {depth}"
    table = _parsed(data, None, "infer")
    if isinstance(table, str):
        return table
    try:
        names = table.schema.names
    except UnicodeDecodeError as exc:
        return f"expected keys in UTF-8, found {exc.object[:80]!r}"
    kinds = [(name, _plain(kind)) for name, kind in zip(names, table.schema.types, strict=True) if _plain(kind) != kind]
    return _parsed(data, pa.schema(kinds), "infer") if kinds else table


def table_of(data: bytes, chosen: Mapping[str, Feature]) -> Any:
    """Return some columns of a block, as the types of features; a text where it cannot be."""
    table = _parsed(data, _schema(chosen))
    if isinstance(table, str) and (b"true" in data or b"false" in data):
        return _with_booleans(data, chosen)
    return table


def _depth(data: bytes) -> int:
    """Say how deep lists and objects lie in each other at most, of what is JSON.

    >>> _depth(b'{"a": [[1], "[[[[[["]}'), _depth(b"")
    (3, 0)
    """
    view = np.frombuffer(STRING.sub(b"", data), np.uint8) | 0x20  # `[` becomes `{`, and `]` becomes `}`
    marks = view[(view == ord("{")) | (view == ord("}"))]
    return int(np.cumsum(np.where(marks == ord("{"), 1, -1)).max(initial=0))


def _plain(kind: Any) -> Any:
    """Return a type with texts in the place of times."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return pa.list_(_plain(kind.value_type))
    return pa.string() if pa.types.is_temporal(kind) else kind


def _is_text(feature: Feature) -> bool:
    return feature.dtype == "string" or feature.kind is Kind.IMAGE


def _schema(chosen: Mapping[str, Feature]) -> Any:
    """Return the types of features."""
    import pyarrow as pa

    def kind(feature: Feature) -> Any:
        kind = pa.string() if _is_text(feature) else pa.from_numpy_dtype(np.dtype(feature.dtype))
        for _ in range(1 if feature.kind is Kind.VARIABLE else 0 if feature.kind is Kind.IMAGE else len(feature.shape)):
            kind = pa.list_(kind)
        return kind

    return pa.schema([(name, kind(feature)) for name, feature in chosen.items()])


def _parsed(data: bytes, schema: Any, others: str = "ignore") -> Any:
    """Let Arrow convert a block; a text where it cannot.

    Args:
      schema: of some columns.
      others: "ignore" or "infer", which is to find out their types.
    """
    import pyarrow as pa
    import pyarrow.json as pj

    options = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior=others)
    try:
        if others == "ignore" and len(data) > CONVERT:
            try:
                return pj.read_json(pa.BufferReader(data), pj.ReadOptions(use_threads=True, block_size=CONVERT), options)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                pass  # a line may have been too long: all at once says what is wrong
        return pj.read_json(
            pa.BufferReader(data), pj.ReadOptions(use_threads=False, block_size=max(len(data) + 1, 1 << 16)), options
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        return " ".join(str(exc).split())[:300]


def _with_booleans(data: bytes, chosen: Mapping[str, Feature]) -> Any:
    """Convert true and false too: as 1 and 0 where numbers are wanted, and as they are spelled where texts are.

    They are written so into the block, outside its texts. Arrow then converts and checks them as all else.
    """
    import pyarrow as pa

    numbers = {name: feature for name, feature in chosen.items() if not _is_text(feature)}
    texts = {name: feature for name, feature in chosen.items() if _is_text(feature)}
    columns = {}
    for group, yes, no in ((numbers, b"1", b"0"), (texts, b'"true"', b'"false"')):
        if chosen and not group:
            continue
        table = _parsed(data, _schema(group))
        if isinstance(table, str):
            table = _parsed(_spelled(data, yes, no), _schema(group))
        if isinstance(table, str):
            return table
        columns.update({name: table.column(name) for name in group})
    return pa.table([columns[name] for name in chosen], names=list(chosen))


def _spelled(data: bytes, yes: bytes, no: bytes) -> bytes:
    """Write something else for true and false outside texts; what is no JSON is none afterwards.

    >>> _spelled(b'{"true": true, "b": [false]}', b"1", b"0")
    b'{"true":  1 , "b": [ 0 ]}'
    """
    parts = STRING.split(data)
    plain = b"\0".join(parts[::2])
    if b"\0" in data or BOOLEAN_KEY.search(plain):
        return data
    # With blanks around, so that 1true does not become a number.
    parts[::2] = plain.replace(b"true", b" " + yes + b" ").replace(b"false", b" " + no + b" ").split(b"\0")
    return b"".join(parts)

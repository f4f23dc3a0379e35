"""The long table of many runs as Parquet: float64, int64 and texts. Loads pyarrow."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness.export.exported_run import ExportedRun
from harness.export.outcome import Exported
from harness.export.table_rows import COLUMNS, add_runs, not_a_table

__all__ = ["write"]

NUMBERS, COUNTS = ("started_s", "value", "low", "high", "standard_error"), ("step", "examples")
SCHEMA = pa.schema(
    [(name, pa.float64() if name in NUMBERS else pa.int64() if name in COUNTS else pa.string()) for name in COLUMNS]
)


def write(runs: Sequence[ExportedRun], place: str) -> Exported:
    """Add runs to a table; `slice` is a JSON object, empty for the whole.

    Raises: UsageError: the file is something else.
    """

    def ids(content: bytes) -> set[str]:
        try:
            table = pq.read_table(io.BytesIO(content))
        except (pa.ArrowException, OSError):
            raise not_a_table(place, "a Parquet table") from None
        if not table.schema.equals(SCHEMA):
            raise not_a_table(place, "a Parquet table")
        return set(table["run_id"].to_pylist())

    return add_runs(runs, place, ids, _joined)


def _joined(before: bytes, rows: Sequence[Mapping[str, Any]]) -> bytes:
    lines = [
        {
            **row,
            "slice": json.dumps(row["slice"], ensure_ascii=False) if row["slice"] else "",
            **{name: None if row[name] is None else float(row[name]) for name in NUMBERS},
        }
        for row in rows
    ]
    table = pa.Table.from_pylist(lines, schema=SCHEMA)
    if before:
        table = pa.concat_tables([pq.read_table(io.BytesIO(before)), table])
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()

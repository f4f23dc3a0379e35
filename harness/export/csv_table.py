"""The long table of many runs as CSV: floats in the shortest form that reads back to the same bits, a null is an empty cell."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.export.exported_run import ExportedRun
from harness.export.outcome import Exported
from harness.export.table_rows import COLUMNS, add_runs, not_a_table

__all__ = ["write"]


def write(runs: Sequence[ExportedRun], place: str) -> Exported:
    """Add runs to a table; `slice` is a JSON object, empty for the whole.

    Raises: UsageError: the file is something else.
    """

    def ids(content: bytes) -> set[str]:
        try:
            lines = list(csv.reader(io.StringIO(content.decode(), newline="")))
        except (UnicodeDecodeError, csv.Error):
            lines = []
        if not lines or lines[0] != list(COLUMNS) or any(len(line) != len(COLUMNS) for line in lines):
            raise not_a_table(place, "a CSV table")
        return {line[0] for line in lines[1:]}

    return add_runs(runs, place, ids, _joined)


def _joined(before: bytes, rows: Sequence[Mapping[str, Any]]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    if not before:
        writer.writerow(COLUMNS)
    for row in rows:
        features = json.dumps(row["slice"], ensure_ascii=False) if row["slice"] else ""
        writer.writerow(["" if cell is None else cell for cell in {**row, "slice": features}.values()])
    return before + stream.getvalue().encode()

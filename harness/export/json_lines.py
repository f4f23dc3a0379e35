"""The long table of many runs as JSON lines: an object for each number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.export.exported_run import ExportedRun
from harness.export.outcome import Exported
from harness.export.table_rows import COLUMNS, add_runs, not_a_table

__all__ = ["write"]


def write(runs: Sequence[ExportedRun], place: str) -> Exported:
    """Add runs to a table; `slice` is an object, `{}` for the whole.

    Raises: UsageError: the file is something else.
    """

    def ids(content: bytes) -> set[str]:
        try:
            lines = [json.loads(line) for line in content.decode().split("\n") if line]
            if any(list(line) != list(COLUMNS) for line in lines) or not content.endswith(b"\n"):
                raise ValueError
        except (ValueError, TypeError, RecursionError):
            raise not_a_table(place, "JSON lines") from None
        return {line["run_id"] for line in lines}

    return add_runs(runs, place, ids, _joined)


def _joined(before: bytes, rows: Sequence[Mapping[str, Any]]) -> bytes:
    return before + "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows).encode()

"""Which examples one side alone has right, with both predictions, as CSV or Parquet: written piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from harness.comparison.scored_examples import Scored

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ENDINGS", "encoded"]

ENDINGS = (".csv", ".parquet")


def encoded(ending: str, pairs: Iterator[tuple[Scored, Scored]], classes: Sequence[str] | None) -> Iterator[bytes]:
    """Return the bytes of a file; its size grows with what it holds, the memory does not.

    Args:
      ending: of the file's name, one of ENDINGS.
      pairs: examples of both sides.
      classes: their names; None writes numbers.
    """
    tables = (_table(first, second, classes) for first, second in pairs)
    return _csv(tables) if ending == ".csv" else _parquet(tables)


def _table(first: Scored, second: Scored, classes: Sequence[str] | None) -> pd.DataFrame:
    """Return the discordant positions: id, position where there are several, label, both predictions, and who is right."""
    right = [side.predicted == side.labels for side in (first, second)]
    row, position = np.nonzero((right[0] != right[1]) & first.kept)
    columns: dict[str, Any] = {"id": first.ids[row]}
    if first.labels.shape[1] > 1:
        columns["position"] = position
    numbers = {"label": first.labels, "baseline_prediction": first.predicted, "prediction": second.predicted}
    for name, array in numbers.items():
        values = array[row, position]
        columns[name] = values if classes is None else np.array([*classes, None], object)[values]
    columns["right"] = np.where(right[0][row, position], "baseline", "prediction").astype(object)
    for name, losses in (("baseline_loss", first.losses), ("loss", second.losses)):
        if losses is not None:
            columns[name] = losses[row]
    return pd.DataFrame(columns)


def _csv(tables: Iterator[pd.DataFrame]) -> Iterator[bytes]:
    for number, table in enumerate(tables):
        yield table.to_csv(index=False, header=number == 0).encode()


class _Pieces:
    """A file that is written to and emptied: what Arrow writes, on its way."""

    closed = False

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._at = 0

    def write(self, piece: Any) -> int:
        self._held.append(bytes(piece))
        self._at += len(self._held[-1])
        return len(self._held[-1])

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        whole = b"".join(self._held)
        self._held.clear()
        return whole


def _parquet(tables: Iterator[pd.DataFrame]) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pieces, writer = _Pieces(), None
    for table in tables:
        batch = pa.Table.from_pandas(table, schema=None if writer is None else writer.schema, preserve_index=False)
        if writer is None:
            batch = batch.cast(_texts(batch.schema))
            writer = pq.ParquetWriter(pa.PythonFile(pieces, mode="w"), batch.schema)
        writer.write_table(batch)
        yield pieces.taken()
    if writer is not None:
        writer.close()
        yield pieces.taken()


def _texts(schema: pa.Schema) -> pa.Schema:
    """Return a schema in which what looked like nothing, for there was none of it yet, is text."""
    import pyarrow as pa

    return pa.schema([field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in schema])

"""The examples that are kept, as a table: examples.parquet in the run folder. Computes no loss and reads no data.

A line is an example in a list of a group. The same values give the same bytes.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import RunFolderError
from harness.folder.regular_files import read_regular
from harness.folder.run_folder import RunFolder
from harness.metrics.contract import Inputs
from harness.metrics.question import Question
from harness.results.outcome import Outcome
from harness.results.tables import TextTable, number
from harness.sums.grid import decode
from harness.sums.selection import CELL, ID, LIST, SLOT, ExamplesLayout, Selection

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "ShownRecords", "as_parquet", "chosen_columns", "examples_table", "frame_of", "holds", "read_examples", "reported",
    "short_names",
]  # fmt: skip

WHOLE = ""  # the group of all examples
ALL = "all"  # what a terminal calls it
FIRST = ("list", "group", "place", "id", "file", "record")  # of the columns
NUMBERS = ("label", "prediction", "confidence")
TEXT_WIDTH = 60  # of a cell on a terminal
SHOWN_SCORES = 5  # of a row on a terminal


@dataclass(frozen=True)
class ShownRecords:
    """What was read again of the examples that are kept.

    Attributes:
      files, records: by id, the file and the number of the record in it.
      features: by name, what an example has of it by id: a number, a text or a flat list of numbers.
      texts, thumbnails: by id, what the model saw, of those that are looked at; empty where it saw neither.
    """

    files: Mapping[int, str]
    records: Mapping[int, int]
    features: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    texts: Mapping[int, str] = field(default_factory=dict)
    thumbnails: Mapping[int, bytes] = field(default_factory=dict)


def reported(selection: Selection, keys: Sequence[str], question: Question, outcome: Outcome) -> Selection:
    """Leave out the slices that are not reported: those with fewer examples than the job's minimum.

    Args:
      keys: of the slots from 1 on.
    """
    if question.slices is None:
        return selection
    shown = {slice_.key for slice_ in outcome.slices}
    kept = np.array([True, *(decode(key, question.slices) in shown for key in keys)])
    return Selection(selection.table[kept[selection.table[:, SLOT]]], selection.most)


def as_parquet(
    selection: Selection, layout: ExamplesLayout, keys: Sequence[str], question: Question, shown: ShownRecords
) -> bytes:
    """Return the table of the examples as a Parquet file.

    Args:
      selection: those that are reported.
      keys: of the slots from 1 on.
      shown: what was read again.
    """
    columns = {**chosen_columns(selection, layout, keys, question), **_records(selection, shown)}
    return _encoded({name: columns[name] for name in (*FIRST, *(name for name in columns if name not in FIRST))})


def _encoded(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(dict(columns))
    out = io.BytesIO()
    # One row group and fixed settings: the bytes depend on the values and on pyarrow's version alone.
    pq.write_table(table, out, row_group_size=max(len(table), 1), compression="zstd", version="2.6", store_schema=False)
    return out.getvalue()


def holds(content: bytes, columns: Mapping[str, pa.Array]) -> bool:
    """Say whether the columns of examples.parquet that the sums tell are these, bit for bit."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content), columns=list(columns))
        return _encoded({name: table.column(name).cast(columns[name].type) for name in columns}) == _encoded(columns)
    except (pa.ArrowException, OSError, KeyError):
        return False


def chosen_columns(selection: Selection, layout: ExamplesLayout, keys: Sequence[str], question: Question) -> dict[str, pa.Array]:
    """Return the columns that the sums tell: which examples there are, and what was predicted of them."""
    import pyarrow as pa

    table, classes = selection.table, _class_names(layout, question)
    loss = layout.column("loss", table)
    assert loss is not None  # the first column of every layout
    columns = {
        "list": pa.array([layout.lists[at] for at in table[:, LIST].tolist()], pa.string()),
        "group": pa.array(_groups(table, layout, keys, question, classes), pa.string()),
        "place": pa.array((selection.places + 1).astype(np.int32)),
        "id": pa.array(table[:, ID]),
        "loss": pa.array(loss),
    }
    undefined = np.isnan(loss)
    for name in NUMBERS:
        column = layout.column(name, table)
        if column is None:
            continue
        if name == "confidence":
            columns[name] = pa.array(column, mask=undefined)
        elif column.dtype == np.int64:
            known = [None if value < 0 else value for value in column.tolist()]
            columns[name] = pa.array(known, pa.int64()) if classes is None else pa.array(_named(known, classes), pa.string())
        else:
            columns[name] = pa.array(column)
    if layout.scores[0]:
        kind = pa.list_(pa.float32() if layout.scores[1] == "float32" else pa.float64())
        columns["scores"] = pa.array(list(layout.scores_of(table)), kind)
    return columns


def _named(numbers: Sequence[int | None], classes: Sequence[str]) -> list[str | None]:
    return [None if number is None else classes[number] for number in numbers]


def _class_names(layout: ExamplesLayout, question: Question) -> Sequence[str] | None:
    """Return the names of the classes of label and prediction; None where they are numbers."""
    assert question.examples is not None and question.examples.by is not None
    binding = question.bindings[question.examples.by]
    fits = binding.inputs is Inputs.CLASSES or (binding.inputs is Inputs.BINARY and binding.positive == 1)
    return question.classes if fits and question.classes and len(question.classes) == layout.classes else None


def _groups(
    table: np.ndarray, layout: ExamplesLayout, keys: Sequence[str], question: Question, classes: Sequence[str] | None
) -> list[str]:
    """Return the name of each entry's group."""
    slots = [WHOLE]
    for key in keys:
        assert question.slices is not None  # only slices have keys
        parts = decode(key, question.slices)
        slots.append(", ".join(f"{name}={value}" for name, value in zip(parts.features, parts.values, strict=True)))
    names = classes or [str(number) for number in range(layout.classes)]

    def name(slot: int, cell: int) -> str:
        return slots[slot] if cell < 0 else f"{names[cell // layout.classes]} as {names[cell % layout.classes]}"

    return [name(slot, cell) for slot, cell in table[:, [SLOT, CELL]].tolist()]


def _records(selection: Selection, shown: ShownRecords) -> dict[str, pa.Array]:
    """Return the columns that were read again."""
    import pyarrow as pa

    ids = selection.table[:, ID].tolist()
    columns = {
        "file": pa.array([shown.files[example] for example in ids], pa.string()),
        "record": pa.array([shown.records[example] for example in ids], pa.int64()),
    }
    for name, values in shown.features.items():
        columns[f"feature:{name}"] = pa.array([values[example] for example in ids])
    if shown.texts:
        columns["text"] = pa.array([shown.texts.get(example) for example in ids], pa.string())
    if shown.thumbnails:
        columns["thumbnail"] = pa.array([shown.thumbnails.get(example) for example in ids], pa.binary())
    return columns


def short_names(paths: Sequence[str]) -> list[str]:
    """Return paths without the folders that all of them lie in: the same names wherever the data lie.

    >>> short_names(["/data/a/1.csv", "/data/b/1.csv"]), short_names(["s3://bucket/x.npz"])
    (['a/1.csv', 'b/1.csv'], ['x.npz'])
    """
    folders = [path.split("/")[:-1] for path in paths]
    common = len(posixpath.commonprefix(folders)) if folders else 0
    return ["/".join(path.split("/")[common:]) for path in paths]


def frame_of(content: bytes) -> pd.DataFrame:
    """Return the table of examples.parquet.

    Raises: RunFolderError: it is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table: pd.DataFrame = pq.read_table(pa.BufferReader(content)).to_pandas()
    except (pa.ArrowException, OSError) as exc:
        raise RunFolderError(f"examples.parquet: cannot be read: {exc}") from exc
    return table


def read_examples(folder: RunFolder) -> pd.DataFrame | None:
    """Return the examples of a run; None where it keeps none.

    Raises: RunFolderError: the file is none that a run writes.
    """
    if not folder.examples_parquet.exists():
        return None
    return frame_of(read_regular(folder.examples_parquet))


def examples_table(frame: pd.DataFrame, most: int, title: str = "") -> TextTable:
    """Return the first lines of the examples as a table of texts, without pictures."""
    frame = frame.assign(group=frame["group"].replace(WHOLE, ALL))
    hidden = ["thumbnail", *(name for name in ("group",) if (frame["group"] == ALL).all())]
    shown = frame.drop(columns=hidden, errors="ignore").head(most)
    rows = [[_cell(value) for value in row] for row in shown.itertuples(index=False)]
    return TextTable([str(name) for name in shown.columns], rows, title, names=2 if "group" in shown else 1)


def _cell(value: Any) -> str:
    if isinstance(value, np.ndarray):
        parts = [number(float(part)) for part in value[:SHOWN_SCORES]]
        return ", ".join([*parts, *(["..."] if len(value) > SHOWN_SCORES else [])])
    if value is None:
        return ""
    if isinstance(value, str):
        return value if len(value) <= TEXT_WIDTH else value[: TEXT_WIDTH - 3] + "..."
    if isinstance(value, int | np.integer):
        return str(value)
    return number(float(value)) if isinstance(value, float | np.floating) else str(value)

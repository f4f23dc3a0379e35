"""Layouts as JSON and back, so that the sums in a journal can be read without tracing the graph that made them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness.metrics.contract import Binding
from harness.metrics.question_json import MALFORMED, binding_from_json, binding_to_json
from harness.sums.grid import GridLayout
from harness.sums.layout import Counted, Crossed, Layout, RowLayout, Summed
from harness.sums.selection import ExamplesLayout
from harness.sums.sums import Layouts

__all__ = ["from_json", "to_json"]


def to_json(layouts: Layouts) -> dict[str, Any]:
    """Return layouts as a document that JSON holds; `from_json` reads it.

    An owner of columns is a metric's key, or the number of a binding in `bindings`.
    """
    owners = _Owners()
    state, grid = layouts.state, layouts.grid
    return {
        "summed": [owners.column(column) for column in state.summed],
        "counted": [owners.column(column) for column in state.counted],
        "crossed": [owners.column(column) for column in state.crossed],
        "shared": [[owners.name(owner), owners.name(first)] for owner, first in state.shared],
        "grid": {
            "numbers": [owners.column(column) for column in grid.numbers],
            "histograms": [owners.column(column) for column in grid.histograms],
            "buckets": [owners.column(column) for column in grid.buckets],
            "weighted": [owners.column(column) for column in grid.weighted],
        },
        "rows": {
            key: {
                "grouped": layout.grouped,
                "weighted": layout.weighted,
                "clustered": layout.clustered,
                "values": [list(value) for value in layout.values],
            }
            for key, layout in layouts.rows.items()
        },
        "specs": layouts.specs,
        "draws": layouts.draws,
        "bindings": [binding_to_json(binding) for binding in owners.bindings],
        # Left out where none are kept: the bytes of jobs without are those of earlier versions.
        **({"examples": asdict(layouts.examples)} if layouts.examples.most else {}),
    }


def from_json(document: Any) -> Layouts:
    """Read what `to_json` wrote; its digest is that of the layouts that were written.

    Raises: ValueError: the document is not what `to_json` writes.
    """
    try:
        bindings = [binding_from_json(binding) for binding in document["bindings"]]

        def owner(name: Any) -> Any:
            return name if isinstance(name, str) else bindings[_whole(name)]

        def key(column: Any) -> tuple[Any, str]:
            return owner(column["owner"]), str(column["name"])

        def summed(columns: Any) -> tuple[Summed, ...]:
            return tuple(Summed(key(column), tuple(_whole(size) for size in column["shape"])) for column in columns)

        def counted(columns: Any) -> tuple[Counted, ...]:
            return tuple(Counted(key(column), _whole(column["size"])) for column in columns)

        crossed = tuple(Crossed(key(column), _whole(column["features"])) for column in document["crossed"])
        shared = tuple((owner(name), owner(first)) for name, first in document["shared"])
        state = Layout(summed(document["summed"]), counted(document["counted"]), shared, crossed)
        grid = document["grid"]
        return Layouts(
            state,
            GridLayout(
                summed(grid["numbers"]), counted(grid["histograms"]), counted(grid["buckets"]), summed(grid["weighted"]), state
            ),
            {str(name): _row_layout(layout) for name, layout in document["rows"].items()},
            _whole(document["specs"]),
            _whole(document["draws"]),
            _examples_layout(document["examples"]) if "examples" in document else ExamplesLayout(),
        )
    except MALFORMED as exc:
        raise ValueError(f"not layouts as a run writes them: {type(exc).__name__}: {exc}") from exc


class _Owners:
    """Names the owners of columns: bindings by their number."""

    def __init__(self) -> None:
        self._numbers: dict[Binding, int] = {}

    @property
    def bindings(self) -> list[Binding]:
        """The bindings that were named, by their number."""
        return list(self._numbers)

    def name(self, owner: Any) -> str | int:
        """Return the name of an owner."""
        return self._numbers.setdefault(owner, len(self._numbers)) if isinstance(owner, Binding) else str(owner)

    def column(self, column: Summed | Counted | Crossed) -> dict[str, Any]:
        """Return a column as a document."""
        owner, name = column.key
        entry: dict[str, Any] = {"owner": self.name(owner), "name": name}
        if isinstance(column, Summed):
            return {**entry, "shape": list(column.shape)}
        return {**entry, "size": column.size} if isinstance(column, Counted) else {**entry, "features": column.features}


def _row_layout(document: Mapping[str, Any]) -> RowLayout:
    flags = [document[name] for name in ("grouped", "weighted", "clustered")]
    if not all(isinstance(flag, bool) for flag in flags):
        raise TypeError(f"expected true or false, found {flags}")
    values = tuple((str(name), str(dtype)) for name, dtype in document["values"])
    return RowLayout(flags[0], flags[1], values, flags[2])


def _examples_layout(document: Mapping[str, Any]) -> ExamplesLayout:
    count, dtype = document["scores"]
    return ExamplesLayout(
        tuple(str(name) for name in document["lists"]),
        _whole(document["most"]),
        document["sliced"] is True,
        document["by_cell"] is True,
        _whole(document["classes"]),
        tuple((str(name), str(kind)) for name, kind in document["columns"]),
        (_whole(count), str(dtype)),
    )


def _whole(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise TypeError(f"expected a number of 0 or more, found {number!r}")
    return number

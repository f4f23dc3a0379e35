"""A reader of the user's own: a function that says how many examples there are and yields any range of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.block_size import BlockSize, size_of
from harness.data.columns import BLOCK, Column, ColumnSource, Piece
from harness.data.source import Feature, Origin, Place
from harness.errors import DataError, JobError
from harness.job.imports import load_object
from harness.plan.plan import File

__all__ = ["OwnSource", "open_own"]

FIRST = 16  # examples that a reader is asked for at least


def open_own(origin: Origin) -> OwnSource:
    """Open the user's own reader; see `OwnSource.open`."""
    return OwnSource.open(origin.target, origin.folder)


class OwnSource(ColumnSource):
    """Examples of a user's function.

    `function()` returns an object with `len()`, and `read(start, stop)` that yields mappings of arrays [n, ...] by
    feature name, in order, n in all as many as were asked for.

    Args:
      target: package.module:function.
      folder: where it is looked for first.
      examples: how many there are.
    """

    def __init__(self, target: str, folder: Path, examples: int) -> None:
        super().__init__((File(target, 0, examples),))
        self._target, self._folder = target, folder
        self._reader: Any = None
        self._features: dict[str, Feature] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the reader out: every process makes its own."""
        return {**self.__dict__, "_reader": None}

    @classmethod
    def open(cls, target: str, folder: Path) -> OwnSource:
        """Import the function and ask how many examples there are.

        Raises: JobError: it cannot be imported, or returns no reader.
        """
        reader = _make(target, folder)
        return cls(target, folder, len(reader))

    @property
    def reader(self) -> Any:
        """What the function returned in this process."""
        if self._reader is None:
            self._reader = _make(self._target, self._folder)
        return self._reader

    def features(self) -> dict[str, Feature]:
        """Look at the first example."""
        if self._features is None:
            first = next(self._runs(0, min(1, self.files[0].examples)), None) or {}
            self._features = {
                name: Feature("string" if array.dtype.kind in "OSU" else array.dtype.name, array.shape[1:])
                for name, array in first.items()
            }
        return self._features

    def lies_in(self, number: int) -> Place:
        """Nobody but the user can tell."""
        del number
        return Place()

    def where(self, number: int, record: int) -> str:
        """Name function and example."""
        return f"python: {self._target}, example {record}"

    def pieces(self, number: int, start: int, stop: int, size: int) -> Iterator[Piece]:
        """Ask the reader for a few examples at first, for more where they are small."""
        unit = max(size, FIRST)
        block_size = BlockSize(unit, BLOCK // unit)
        while start < stop:
            end, size_bytes = min(start + block_size.examples, stop), 0
            for piece, read_bytes in self._asked(start, end):
                size_bytes += read_bytes
                yield piece
            block_size.learn(end - start, size_bytes)
            start = end

    def _asked(self, start: int, stop: int) -> Iterator[tuple[Piece, int]]:
        """Pass on what the reader yields, checked; and the bytes of all of it."""
        chosen, at = self.chosen, start
        for run in self._runs(start, stop):
            missing = set(chosen) - set(run)
            if missing:
                raise DataError(
                    f"{self.where(0, at)}: expected features {', '.join(sorted(chosen))}, found {', '.join(sorted(run))}"
                )
            lengths = {len(array) for array in run.values()}
            if len(lengths) != 1:
                raise DataError(f"{self.where(0, at)}: expected arrays of one length, found lengths {sorted(lengths)}")
            count = lengths.pop()
            if at + count > stop:
                raise DataError(f"{self.where(0, at)}: expected examples {start}..{stop}, found {at + count - stop} more")
            columns = {}
            for name, feature in chosen.items():
                array = run[name]
                if array.shape[1:] != feature.shape or (array.dtype.kind in "OSU") != (feature.dtype == "string"):
                    raise DataError(
                        f"{self.where(0, at)}: feature '{name}': expected {feature}, found {array.dtype} {list(array.shape[1:])}"
                    )
                # A copy: the reader may fill the same array again, while TensorFlow still reads this one.
                columns[name] = Column(array.copy() if feature.dtype == "string" else array.astype(feature.dtype))
            if count:
                yield Piece(at, columns), size_of(run.values())
            at += count
        if at != stop:
            raise DataError(f"{self.where(0, at)}: expected examples {start}..{stop}, found {at - start} of {stop - start}")

    def _runs(self, start: int, stop: int) -> Iterator[Mapping[str, np.ndarray]]:
        if start >= stop:
            return
        try:
            for run in self.reader.read(start, stop):
                yield {name: np.asarray(values) for name, values in run.items()}
        except Exception as exc:  # the user's own code raises what it likes
            if isinstance(exc, DataError):
                raise
            raise DataError(
                f"{self.where(0, start)}: reading examples {start}..{stop} fails: {type(exc).__name__}: {exc}"
            ) from exc


def _make(target: str, folder: Path) -> Any:
    function = load_object(target, folder, "data.python")
    try:
        reader = function()
    except Exception as exc:  # the user's own code raises what it likes
        raise JobError(f"data.python: {target} fails: {type(exc).__name__}: {exc}") from exc
    if not hasattr(reader, "__len__") or not hasattr(reader, "read"):
        raise JobError(
            f"data.python: {target} returned a {type(reader).__name__}, expected an object with len() and read(start, stop)"
        )
    return reader

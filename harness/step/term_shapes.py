"""Whether what `terms` returned has one line per position: a metric that reduces over the batch is refused by name and place.

Broadcast instead, such a term would be added once per position, and the value would depend on the size of the batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import ShapeError
from harness.metrics.contract import Count, Gram, HostMetric, Metric, Number, Rows, Term

__all__ = ["check_columns", "check_host_terms", "check_term", "square_terms"]

WRITTEN = ("terms", "each", "host_terms")  # what the author of a metric writes


def check_term(metric: Metric, name: str, term: Term, positions: int) -> None:
    """Compare the shapes of a term with the number of positions.

    Args:
      metric: whose term it is.
      name: of the term.
      term: as `terms` returned it.
      positions: N.
    Raises: ShapeError: a part of the term is not [N], or where it may have several columns [N, K].
    """
    for part, values, ranks, rows in _parts(term, positions):
        tensor = tf.convert_to_tensor(values)
        shape = None if tensor.shape.rank is None else tensor.shape.as_list()
        if shape is not None and len(shape) in ranks and (rows is None or shape[0] == rows) and None not in shape[1:]:
            continue
        label = f"term '{name}'" + (f", its {part}," if part else "")
        expected = " or ".join({1: "[N]", 2: "[N, K]"}[rank] for rank in ranks)
        raise ShapeError(
            f"{label} is {_shown(shape)}, expected {expected}, a line for each of N = {rows or positions:,} positions: "
            f"terms must not reduce over the batch, the engine adds them up ({_place(metric, tensor)})"
        )


def square_terms(terms: Mapping[str, Term]) -> dict[str, Number | Gram]:
    """Return the terms that have as many columns as lines: by chance, or since each position is compared with all others."""
    return {
        name: term
        for name, term in terms.items()
        if isinstance(term, Number | Gram) and len(term.values.shape) == 2 and term.values.shape[0] == term.values.shape[1]
    }


def check_columns(metric: Metric, terms: Mapping[str, Number | Gram], fewer: Mapping[str, Term]) -> None:
    """Compare the columns of terms with those that there are of fewer positions.

    Raises: ShapeError: they are not as many.
    """
    for name, term in terms.items():
        other = fewer.get(name)
        if not isinstance(other, Number | Gram) or other.values.shape[1:] != term.values.shape[1:]:
            tensor = tf.convert_to_tensor(term.values)
            raise ShapeError(
                f"term '{name}' is {_shown(tensor.shape.as_list())}, expected [N, K], K columns however many positions N there "
                f"are: terms must not compare the positions of a batch ({_place(metric, tensor)})"
            )


def check_host_terms(metric: HostMetric, terms: Any, examples: int) -> np.ndarray:
    """Return what `host_terms` returned of some examples as an array [examples, columns].

    Raises: ShapeError: it has another shape; of no examples the number of columns is left open.
    """
    array, columns = np.asarray(terms), len(metric.columns())
    if array.shape != (examples, columns) and not (examples == 0 and array.ndim and array.shape[0] == 0):
        raise ShapeError(
            f"{type(metric).__name__}.host_terms is {_shown(list(array.shape))}, expected [n, {columns}], a line for each of "
            f"n = {examples:,} examples: it must not reduce over the batch, the engine adds them up ({_place(metric, None)})"
        )
    return array


def _parts(term: Any, positions: int) -> Iterator[tuple[str, Any, tuple[int, ...], int | None]]:
    """Yield the tensors of a term: which part, its values, the ranks it may have, and how many lines (None for any)."""
    if isinstance(term, Number):
        yield "", term.values, (1,) if term.spread else (1, 2), positions
        if term.low is not None:
            yield "low", term.low, (len(term.values.shape),), positions
    elif isinstance(term, Count):
        yield "index", term.index, (1,), positions
    elif isinstance(term, Gram):
        yield "", term.values, (2,), positions
    elif isinstance(term, Rows):
        lines: int | None = positions
        if term.per_row is not None:
            yield "per_row", term.per_row, (1,), None
            lines = term.per_row.shape[0]
        yield "key", term.key, (1,), lines
        yield from ((column, values, (1,), lines) for column, values in term.values.items())
        if term.group is not None:
            yield "group", term.group, (1,), lines


def _shown(shape: list[int | None] | None) -> str:
    """Write a shape.

    >>> _shown([]), _shown([7, None]), _shown(None)
    ('one number, []', '[7, ?]', 'of unknown shape')
    """
    if shape is None:
        return "of unknown shape"
    sizes = f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
    return sizes if shape else f"one number, {sizes}"


def _place(metric: Metric, tensor: Any) -> str:
    """Return file and line: where the author's own code made a tensor, else where that code begins."""
    kinds = [kind for kind in type(metric).__mro__ if kind.__module__ not in ("builtins", Metric.__module__)]
    written = [vars(kind)[name].__code__ for kind in kinds for name in WRITTEN if hasattr(vars(kind).get(name), "__code__")]
    files = list(dict.fromkeys(code.co_filename for code in written))
    frames = [] if tensor is None or not hasattr(tensor, "op") else list(tensor.op.traceback)
    for file in files:
        lines = [frame.lineno for frame in frames if frame.filename == file]
        if lines:
            return f"{file}:{lines[-1]}"
    return f"{written[0].co_filename}:{written[0].co_firstlineno}" if written else inspect.getfile(type(metric))

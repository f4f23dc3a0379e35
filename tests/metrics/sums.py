"""Sums of host terms and folds of rows for tests, through the exact cells and the parts that the engine uses."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from harness.exact.limbs import carry, refused, to_cells, to_fraction
from harness.metrics.contract import HostMetric, RowMetric, Totals, row_sums
from harness.metrics.row_part import Part

__all__ = ["folded", "host_totals", "strings"]


def strings(texts: list[Any]) -> np.ndarray:
    """Return texts as the engine gives them: UTF-8 bytes in an object array, [n] or [n, R]."""
    array = np.array(texts, dtype=object)
    return np.array([text.encode() for text in array.ravel()] + [None], dtype=object)[:-1].reshape(array.shape)


def host_totals(metric: HostMetric, labels: np.ndarray, predictions: np.ndarray, batch: int = 3) -> Totals:
    """Sum the host terms of all examples, a few at a time."""
    cells = 0
    for start in range(0, len(labels), batch):
        terms = metric.host_terms(labels[start : start + batch], predictions[start : start + batch])
        assert terms.dtype == np.float64 and terms.shape == (len(labels[start : start + batch]), len(metric.columns()))
        cells = carry(cells + to_cells(terms).sum(axis=0))
    assert not refused(cells).any()
    sums = {name: np.array(to_fraction(cell), dtype=object) for name, cell in zip(metric.columns(), cells, strict=True)}
    return Totals(sums, positions=len(labels), weight=Fraction(len(labels)))


def folded(
    metric: RowMetric, group: Any, key: Any, values: dict[str, Any], *, parts: int = 1, times: Any = None, weight: Any = None
) -> Totals:
    """Sort rows given in order of example id, cut whole groups into parts, fold each and add up.

    Args:
      group, key: [n]. values: [n] each.
      parts: how many, some of them may be empty.
      times: multiplicity of each row, [n].
      weight: integer weight of each row, [n].
    """
    group, key = np.asarray(group, np.int64), np.asarray(key, np.float64)
    times = np.ones(len(group), np.int64) if times is None else np.asarray(times)
    order = np.lexsort((key, group))  # stable: ties stay in order of example id
    order = order[times[order] > 0]
    of_part = np.unique(group[order], return_inverse=True)[1] % parts if len(order) else order
    sums: dict[str, Any] = {}
    for number in range(parts):
        rows = order[of_part == number]
        columns = {name: np.asarray(column)[rows] for name, column in values.items()}
        before = [column.copy() for column in columns.values()]
        part = Part(key=key[rows], group=group[rows], values=columns, multiplicity=times[rows])
        part = part if weight is None else replace(part, weight=np.asarray(weight, np.int64)[rows])
        for name, total in metric.fold(part).items():
            exact = [total] if not isinstance(total, np.ndarray) else total.tolist()
            assert all(isinstance(number, int | Fraction) for number in exact), f"{name} is not exact"
            sums[name] = sums.get(name, 0) + total
        assert all(np.array_equal(*pair, equal_nan=True) for pair in zip(before, columns.values(), strict=True))
    return Totals(row_sums(sums), positions=len(group), weight=Fraction(len(group)))

"""Sums of host terms for tests, through the exact cells that the engine uses."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from harness.exact import carry, refused, to_cells, to_fraction
from harness.metrics.contract import HostMetric, Totals

__all__ = ["host_totals", "strings"]


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

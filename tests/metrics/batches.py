"""Evaluate a metric on arrays through the real terms, sums and decoding, without files, models or ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.results.values import Result, result
from harness.step.terms import Terms
from harness.sums.layout import Layout


def result_of(
    metric: str,
    labels: Any,
    predictions: Any,
    weights: Any = None,
    /,
    *,
    batch: int = 256,
    names: tuple[str, ...] | None = None,
    **options: Any,
) -> Result:
    """Evaluate one metric in padded batches; what pads them is NaN, or -1, and must not matter."""
    metrics = make([MetricSpec(name=metric, options={"name": "it", **options})])
    bindings = {key: it.binding("output", "label", None if weights is None else "weight") for key, it in metrics.items()}
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    columns = {"label": labels, "output": predictions}
    if weights is not None:
        columns["weight"] = np.asarray(weights, np.float64)
    terms = Terms(metrics, bindings)
    state, layout = None, None
    for start in range(0, len(labels), batch):
        real = min(batch, len(labels) - start)
        parts = {name: _padded(column[start : start + real], batch) for name, column in columns.items()}
        found = terms(parts, {"output": parts["output"]}, tf.constant(np.arange(batch) < real))
        assert layout is None or layout == found.layout
        layout = found.layout
        sums = found.sums().numpy()
        state = sums if state is None else state + sums
    assert isinstance(layout, Layout) and state is not None
    return result(layout, layout.carry(state), "it", metrics["it"], bindings["it"], names)


def value_of(metric: str, labels: Any, predictions: Any, weights: Any = None, /, **options: Any) -> Any:
    """Return the value of one metric; fail where there is none."""
    found = result_of(metric, labels, predictions, weights, **options)
    assert found.reason is None, found.reason
    return found.value


def reason_of(metric: str, labels: Any, predictions: Any, weights: Any = None, /, **options: Any) -> str:
    """Return why one metric has no value; fail where it has one."""
    found = result_of(metric, labels, predictions, weights, **options)
    assert found.value is None and found.reason, found.value
    return found.reason


def _padded(column: np.ndarray, batch: int) -> Any:
    filler = np.full((batch - len(column), *column.shape[1:]), np.nan if column.dtype.kind == "f" else -1).astype(column.dtype)
    return tf.constant(np.concatenate([column, filler]))

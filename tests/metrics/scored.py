"""Score arrays with one metric through the real terms, sums and values, in batches, without a model or ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from harness.job.specs import MetricSpec
from harness.metrics import make
from harness.results import values
from harness.results.values import Result
from harness.step.terms import Terms

BATCH = 208


def result(name: str, labels: Any, predictions: Any, *, weights: Any = None, features: Any = None, **options: Any) -> Result:
    """Return the result of a metric over examples [n, ...], the last batch padded with copies of its first."""
    metrics = make([MetricSpec(name=name, options=options)])
    arrays = {"output": np.asarray(predictions), **(features or {})}
    if labels is not None:
        arrays["label"] = np.asarray(labels)
    if weights is not None:
        arrays["weight"] = np.asarray(weights)
    bindings = {
        key: metric.binding("output", None if labels is None else "label", None if weights is None else "weight")
        for key, metric in metrics.items()
    }
    terms = Terms(metrics, bindings)
    count = len(arrays["output"])
    state: Any = 0
    for start in range(0, count, BATCH):
        stop = min(start + BATCH, count)
        index = np.concatenate([np.arange(start, stop), np.full(BATCH - stop + start, start)])
        batch = {key: tf.constant(array[index]) for key, array in arrays.items()}
        found = terms(batch, {"output": batch.pop("output")}, tf.range(BATCH) < stop - start)
        state = state + found.sums().numpy()
    ((key, metric),) = metrics.items()
    return values.result(found.layout, state, key, metric, bindings[key], None)


def value(name: str, labels: Any, predictions: Any, **more: Any) -> Any:
    """Return the value, which must not be null."""
    found = result(name, labels, predictions, **more)
    assert found.reason is None, found.reason
    return found.value

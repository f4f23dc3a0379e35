"""Terms of a library on the host: called with the real examples of a batch, out of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import HarnessError
from harness.exact.floating_point import subnormals_kept
from harness.metrics.contract import HostMetric, Number
from harness.step.own_code import failed, own_code
from harness.step.positions import Positions
from harness.step.term_shapes import check_host_terms

__all__ = ["host_failures", "host_terms"]

# What host terms raised: TensorFlow turns it into a text of its own. Read by whoever translates its errors.
host_failures: list[BaseException] = []


def host_terms(key: str, metric: HostMetric, positions: Positions, mask: Any, also: Mapping[str, Any]) -> Mapping[str, Number]:
    """Call a host-side library on the real examples of a batch; padding gets zeros."""
    names = list(also)

    def call(real: np.ndarray, labels: np.ndarray, predictions: np.ndarray, *rest: np.ndarray) -> np.ndarray:
        features = {name: array[real] for name, array in zip(names, rest, strict=True)}
        columns = np.zeros([len(real), len(metric.columns())])
        try:
            with subnormals_kept():
                rows = metric.host_terms(labels[real], predictions[real], **features)
            columns[real] = check_host_terms(metric, rows, int(real.sum()))
        except Exception as exc:
            failure = exc if isinstance(exc, HarnessError) else HarnessError(failed(key, metric, exc))
            host_failures.append(failure)
            raise failure from exc
        return columns

    labels = tf.zeros_like(mask) if positions.labels is None else positions.labels
    # On no examples first: what the metric cannot read, or a library that is missing, is said before there is work.
    nothing = [_nothing(tensor) for tensor in (labels, positions.predictions, *also.values())]
    rest = dict(zip(names, nothing[2:], strict=True))
    check_host_terms(metric, own_code(key, metric, lambda: metric.host_terms(nothing[0], nothing[1], **rest)), 0)
    columns = tf.numpy_function(call, [mask, labels, positions.predictions, *also.values()], tf.float64, stateful=False)
    columns = tf.ensure_shape(columns, [mask.shape[0], len(metric.columns())])
    return {name: Number(columns[:, number], spread=metric.spread) for number, name in enumerate(metric.columns())}


def _nothing(tensor: Any) -> np.ndarray:
    """Return an array of no examples, of the dtype and inner shape of a tensor."""
    return np.zeros([0, *(1 if size is None else size for size in tensor.shape[1:])], tensor.dtype.as_numpy_dtype)

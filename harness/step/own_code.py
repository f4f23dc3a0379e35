"""Code of a metric: what it raises is named with the metric, and where it is the user's own with file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import HarnessError, ModelError
from harness.job.user_code import raised
from harness.metrics.contract import HostMetric, Metric

__all__ = ["failed", "metric_of", "own_code"]

UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
SCOPE = "metric."  # before the key of a metric, in the names of the operations that the user's code makes
NODE = re.compile(r"node (?:[^\s}]*/)?metric\.([^/\s}]+)/")


def own_code(key: str, metric: Metric, call: Callable[[], Any]) -> Any:
    """Call code of a metric that builds a graph, or is to run before there is work.

    Args:
      key: under which the metric is reported.
      metric: whose code it is.
      call: the code.
    Returns: what it returns.
    Raises: ModelError: it fails.
    """
    import tensorflow as tf

    if type(metric).__module__.startswith("harness."):
        return call()
    try:
        with tf.name_scope(SCOPE + UNFIT.sub("-", key)):
            result = call()
    except HarnessError:
        raise
    except Exception as exc:  # the user's own code raises what it likes
        raise ModelError(failed(key, metric, exc)) from exc
    if not isinstance(metric, HostMetric) and not isinstance(result, Mapping):
        raise ModelError(
            f"metric {key}: {type(metric).__name__}.terms returned a {type(result).__name__}, expected terms by name, as in "
            "{'cost': Number(cost)}"
        )
    return result


def failed(key: str, metric: Metric, exc: BaseException) -> str:
    """Say that code of a metric raised something.

    >>> from harness.metrics import make
    >>> from harness.job.specs import MetricSpec
    >>> failed("f1", make([MetricSpec(name="f1")])["f_beta"], ValueError("no"))
    'metric f1: FBeta.terms raised ValueError: no'
    """
    method = "host_terms" if isinstance(metric, HostMetric) else "terms"
    return f"metric {key}: {type(metric).__name__}.{method} raised {raised(exc)}"


def metric_of(message: str) -> str:
    """Return the metric whose operation a message of TensorFlow is about; empty where it is about another.

    >>> metric_of("Detected at node while/metric.cost/PyFunc defined at (most recent call last)")
    'cost'
    """
    match = NODE.search(message)
    return match[1] if match else ""

"""How long a consumer waits for the elements of a dataset, measured where they are handed over, by TensorFlow itself.

A clock in the compiled step is not to be had: TensorFlow refuses one under op determinism, and Python would take its lock
for every batch. The kernels of tf.data's statistics have no public function; they take some 3 microseconds a batch.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.core.framework import summary_pb2
from tensorflow.python.data.ops import dataset_ops  # the public module has no class to wrap a kernel with

__all__ = ["WaitClock"]

TAG = "wait"
MICROSECOND = 1e-6


class WaitClock:
    """Adds up how long the elements of one dataset were waited for."""

    def __init__(self) -> None:
        self._statistics = tf.raw_ops.StatsAggregatorHandle(shared_name=uuid.uuid4().hex)  # without a name all are one

    def over(self, dataset: Any) -> Any:
        """Return the same dataset, with this clock running while an element is asked for and not there."""

        def measured(variant: Any, **structure: Any) -> Any:
            return tf.raw_ops.LatencyStatsDataset(input_dataset=variant, tag=TAG, **structure)

        def collected(variant: Any, **structure: Any) -> Any:
            return tf.raw_ops.SetStatsAggregatorDataset(
                input_dataset=variant, stats_aggregator=self._statistics, tag="", counter_prefix="", **structure
            )

        return _Wrapped(_Wrapped(dataset, measured), collected)

    @property
    def seconds(self) -> float:
        """So far."""
        summary = summary_pb2.Summary.FromString(tf.raw_ops.StatsAggregatorSummary(iterator=self._statistics).numpy())
        return sum(value.histo.sum for value in summary.value if value.tag == TAG) * MICROSECOND


class _Wrapped(dataset_ops.UnaryUnchangedStructureDataset):
    """The elements of another dataset, through a kernel."""

    def __init__(self, dataset: Any, kernel: Callable[..., Any]) -> None:
        super().__init__(dataset, kernel(dataset._variant_tensor, **dataset._flat_structure))

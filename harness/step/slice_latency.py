"""How long requests took, by the slices whose examples they held. It is no part of the compiled step, which stays pure."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from harness.exact.latency_histogram import LatencyHistogram
from harness.job.specs import SlicesSpec
from harness.step.slice_keys import keys_of

__all__ = ["SliceLatency"]


class SliceLatency:
    """Counts of latencies by model and slice.

    Args:
      slices: of the job.
    """

    def __init__(self, slices: SlicesSpec) -> None:
        self._specs = slices.by
        self._features = sorted({feature.feature for spec in self._specs for feature in spec})
        self._keys = tf.function(self._traced)
        self._latencies: dict[str, dict[str, LatencyHistogram]] = {}
        self._examples: dict[str, dict[str, int]] = {}
        self._lock = threading.Lock()

    def add(self, features: Mapping[str, np.ndarray], kept: np.ndarray, latencies_s: Mapping[str, float]) -> None:
        """Count the requests of one batch, each once in every slice that has an example in it.

        Args:
          features: [B, ...] by name.
          kept: which of them are evaluated, bool [B].
          latencies_s: of the requests, by model.
        """
        keys = self._keys({name: tf.constant(features[name]) for name in self._features}).numpy()
        found, examples = np.unique(keys[:, kept].astype(bytes, copy=False), return_counts=True)
        texts = [key.decode("utf-8", "surrogateescape") for key in found.tolist()]
        with self._lock:
            for model, latency_s in latencies_s.items():
                histograms, counts = self._latencies.setdefault(model, {}), self._examples.setdefault(model, {})
                for key, held in zip(texts, examples.tolist(), strict=True):
                    histograms.setdefault(key, LatencyHistogram()).add(latency_s)
                    counts[key] = counts.get(key, 0) + held

    def account(self) -> dict[str, dict[str, Any]]:
        """Return examples and latencies by slot's key, by model; see `results.latency.by_slice`."""
        with self._lock:
            return {model: self._of(model) for model in self._latencies}

    def _of(self, model: str) -> dict[str, Any]:
        latencies, examples = self._latencies[model], self._examples[model]
        return {key: {"examples": examples[key], "buckets_us": latencies[key].to_json()} for key in latencies}

    def _traced(self, features: Mapping[str, Any]) -> Any:
        """Return the keys of each example, string [specs, B]."""
        examples = tf.shape(next(iter(features.values())))[:1]
        keys: Sequence[Any] = [keys_of(number, spec, features, examples) for number, spec in enumerate(self._specs)]
        return tf.stack(keys)

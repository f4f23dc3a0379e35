"""The slices of a batch on the host, for what is no part of the compiled step: from the keys that the step has too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from harness.job.specs import SlicesSpec
from harness.step.slice_keys import keys_of

__all__ = ["HostSlices"]


class HostSlices:
    """Says which slices examples are in.

    Args:
      slices: of the job.
      traced: whether all batches have one size, so that it pays to trace.
    """

    def __init__(self, slices: SlicesSpec, *, traced: bool) -> None:
        self._specs = slices.by
        self.features = sorted({feature.feature for spec in self._specs for feature in spec})
        self._keys = tf.function(self._stacked) if traced else self._stacked

    def of(self, features: Mapping[str, np.ndarray]) -> tuple[list[str], np.ndarray]:
        """Return the keys of the slots that a batch has, ascending, and which of them each example is in, int64 [specs, B].

        Args:
          features: [B, ...] by name; those of the slices are read.
        """
        keys = self._keys({name: tf.constant(features[name]) for name in self.features}).numpy()
        found, places = np.unique(keys.ravel(), return_inverse=True)  # as objects: an array of bytes drops a NUL at the end
        return [key.decode("utf-8", "surrogateescape") for key in found.tolist()], places.reshape(keys.shape)

    def _stacked(self, features: Mapping[str, Any]) -> Any:
        examples = tf.shape(next(iter(features.values())))[:1]
        return tf.stack([keys_of(number, spec, features, examples) for number, spec in enumerate(self._specs)])

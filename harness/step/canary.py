"""The canary: the first examples, predicted on every rank, so that ranks that give other bits are told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from harness.data import BAD, Feature, Source
from harness.exact.array_bytes import array_bytes
from harness.step.batch import pad

__all__ = ["Canary"]


class Canary:
    """The first examples, to be predicted on every rank: machines, or weights, that give other bits give another hash.

    Args:
      predict: as for `Step`.
      source: of the examples.
      wanted: features to parse.
      size: how many examples.

    Attributes:
      features: of the examples, by name [rows, ...]: at least 2 rows.
      predict: compiled for them.
    """

    def __init__(
        self,
        predict: Callable[[Mapping[str, Any]], Mapping[str, Any]],
        source: Source,
        wanted: Mapping[str, Feature],
        size: int,
    ) -> None:
        records = next(iter(source.read(0, size, size)))
        parsed = source.parse({name: tf.constant(array) for name, array in records.raw.items() if name != BAD}, wanted)
        # A batch may be cut short: all have the first one's shape.
        count, rows = len(records.ids), max(size, 2)
        self.features = {name: parsed[name] if count == rows else pad(parsed[name], tf.constant(count), rows) for name in wanted}
        specs = {name: tf.TensorSpec.from_tensor(tensor) for name, tensor in self.features.items()}
        # Concrete: TensorFlow warns of functions that are traced again and again, and this one is new in each evaluation.
        self.predict = tf.function(predict, autograph=False).get_concrete_function(specs)

    def __call__(self) -> int:
        """Predict them and hash what the outputs hold; return a signed 64-bit integer."""
        outputs = self.predict(self.features)
        total = hashlib.sha256()
        for name in sorted(outputs):
            total.update(array_bytes(outputs[name].numpy()))
        return int.from_bytes(total.digest()[:8], "little", signed=True)

"""The terms of a group of batches, traced once: for their layout, and for the loop that forms them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from harness.step.batch_terms import BatchTerms
from harness.step.terms import Terms

__all__ = ["TracedTerms"]


class TracedTerms:
    """A graph of its own that forms the terms of a group, inlined where it is called.

    Args:
      terms: forms them.
      features, outputs: specs of what the terms read, by name, [G * B, ...].
      examples: G * B.

    Attributes:
      formed: the columns of a group, with the tensors of this graph.
    Raises: ShapeError: a tensor does not fit its metric.
    """

    def __init__(self, terms: Terms, features: Mapping[str, Any], outputs: Mapping[str, Any], examples: int) -> None:
        self.formed = BatchTerms()
        self._features, self._outputs = tuple(features), tuple(outputs)

        def form(features: list[Any], outputs: list[Any], mask: Any) -> list[Any]:
            self.formed = terms(
                dict(zip(self._features, features, strict=True)), dict(zip(self._outputs, outputs, strict=True)), mask
            )
            return self.formed.tensors()

        mask = tf.TensorSpec([examples], tf.bool)
        self._call = tf.function(form, autograph=False).get_concrete_function([*features.values()], [*outputs.values()], mask)

    def __call__(self, features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any) -> BatchTerms:
        """Return the terms of a group; see `Terms`."""
        return self.formed.filled(self._call([features[n] for n in self._features], [outputs[n] for n in self._outputs], mask))

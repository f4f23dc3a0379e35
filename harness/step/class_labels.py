"""Class labels that are text: the number of their class, looked up once a batch for all metrics, in the graph.

A label that is no class ends the run, leaves its example out, or is no label: the job says which. Slices and predictions
read the feature itself, and so the text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import tensorflow as tf

from harness.metrics.contract import Binding, Inputs
from harness.step.batch import Batch, Group

__all__ = ["UNKNOWN", "ClassLabels"]

Part = TypeVar("Part", Batch, Group)

CLASS = "\0class of "  # marks numbers of classes among the features; no feature of a user has such a name
NO_CLASS = -1
UNKNOWN = "a label is no class"  # what the graph says; `unknown_labels` finds out which


class ClassLabels:
    """Looks up labels that are text.

    Args:
      features: that metrics read as classes; those that hold numbers are left as they are.
      names: of the classes in order; None where there are none.
      unknown: what becomes of an example whose label is no class, see `Question`.
    """

    def __init__(self, features: Sequence[str] = (), names: Sequence[str] | None = None, unknown: str = "error") -> None:
        self.features = tuple(features)
        self.names = names
        self.unknown = unknown
        self._table: Any = None

    def look_up(self, features: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the numbers of the classes, int32 in the shape of the labels, under marked names; NO_CLASS for what is none."""
        if self.names is None:
            return features
        numbers = {
            CLASS + name: self._numbers(features[name])
            for name in self.features
            if name in features and features[name].dtype == tf.string and CLASS + name not in features
        }
        return {**features, **numbers}

    def looked_up(self, specs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the specs of what `look_up` returns for features of some specs."""
        if self.names is None:
            return specs
        text = [name for name in self.features if name in specs and specs[name].dtype == tf.string]
        return {**specs, **{CLASS + name: tf.TensorSpec(specs[name].shape, tf.int32) for name in text}}

    def read_by(self, binding: Binding, features: Mapping[str, Any]) -> tuple[Binding, Mapping[str, Any]]:
        """Return a binding and the features in which its label is a number, where that is a name of a class."""
        numbers = features.get(CLASS + (binding.label or ""))
        if numbers is None or binding.one_hot or binding.inputs not in (Inputs.CLASSES, Inputs.BINARY):
            return binding, features
        if self.unknown == "null":
            # One number stands for all that is left out.
            if binding.ignore_label is not None:
                numbers = tf.where(numbers == binding.ignore_label, NO_CLASS, numbers)
            binding = replace(binding, ignore_label=NO_CLASS)
        return binding, {**features, str(binding.label): numbers}

    def skip(self, part: Part) -> Part:
        """Mark as bad the examples that are skipped for a label; what the job filters out is not asked for its label."""
        if self.unknown != "skip" or (unknown := self._unknown(part.features)) is None:
            return part
        if part.keep is not None:
            unknown &= part.keep
        return replace(part, bad=unknown if part.bad is None else part.bad | unknown)

    def refuse(self, features: Mapping[str, Any], mask: Any) -> Any:
        """Return the mask of the examples that count, bool [B]; fail where the label of one is no class and must be one."""
        if self.unknown != "error" or (unknown := self._unknown(features)) is None:
            return mask
        with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(unknown & mask), [UNKNOWN])]):
            return tf.identity(mask)

    def _unknown(self, features: Mapping[str, Any]) -> Any:
        """Return which examples have a label that is no class, bool [B]; None where no label is text."""
        marked = self.look_up(features)
        unknown = None
        for name in self.features:
            if (numbers := marked.get(CLASS + name)) is not None:
                rows = tf.reduce_any(tf.reshape(numbers, [numbers.shape[0], -1]) == NO_CLASS, axis=1)
                unknown = rows if unknown is None else unknown | rows
        return unknown

    def _numbers(self, texts: Any) -> Any:
        if self._table is None:
            assert self.names is not None
            with tf.init_scope(), tf.device("/CPU:0"):
                keys = tf.constant([name.encode() for name in self.names], tf.string)
                numbers = tf.range(len(self.names), dtype=tf.int32)
                self._table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, numbers), NO_CLASS)
        return self._table.lookup(texts)

"""What a batch holds, and what several of them hold together: tensors in the graph, by what they are. Knows no feed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import tensorflow as tf

__all__ = ["Batch", "Group", "Masks", "pad"]


@dataclass(frozen=True)
class Batch:
    """B examples of one chunk. A short one is padded with its first example.

    Attributes:
      ids: int64 [B].
      count: how many examples are real, int32 [].
      chunk: its number, int64 [].
      last: whether it is the last batch of its chunk, bool [].
      features: by name, [B, ...].
      outputs: by name, [B, ...], where they come with the batch; empty where the step predicts.
      bad: which records are skipped, bool [B]; None where the job skips none.
      keep: which examples the job's filter keeps, bool [B]; None without a filter.
    """

    ids: Any
    count: Any
    chunk: Any
    last: Any
    features: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    bad: Any = None
    keep: Any = None

    def element(self) -> dict[str, Any]:
        """Return what there is by attribute, as a dataset or a function takes it; `Batch(**element)` is the batch again."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: value for name, value in parts.items() if value is not None}


@dataclass(frozen=True)
class Group:
    """Batches whose terms are formed together. Rows that no batch filled are zeros, and masked.

    Attributes:
      batches: how many there are, int32 [].
      places: chunk and count of each, int64 [G, 2].
      ids: int64 [G * B].
      features: those that are asked for, by name, [G * B, ...].
      outputs: by name, [G * B, ...].
      bad, keep: as in a batch, bool [G * B].
    """

    batches: Any
    places: Any
    ids: Any
    features: Mapping[str, Any]
    outputs: Mapping[str, Any] = field(default_factory=dict)
    bad: Any = None
    keep: Any = None


@dataclass(frozen=True)
class Masks:
    """Which rows are examples that were read; of those, which are kept, filtered, skipped: bool [n]."""

    read: Any
    kept: Any
    filtered: Any
    skipped: Any

    @classmethod
    def of(cls, read: Any, bad: Any, keep: Any) -> Masks:
        """Combine what the reader found; a skipped record is not asked whether it is filtered.

        Args:
          read: bool [n].
          bad, keep: bool [n], or None; see `Batch`.
        """
        none = tf.zeros_like(read)
        skipped = none if bad is None else tf.logical_and(read, bad)
        good = read if bad is None else tf.logical_and(read, tf.logical_not(skipped))
        if keep is None:
            return cls(read, good, none, skipped)
        return cls(read, tf.logical_and(good, keep), tf.logical_and(good, tf.logical_not(keep)), skipped)

    def counts(self, batches: int) -> Any:
        """Return how many of each batch are kept, filtered, skipped: int64 [batches, 3]."""
        masks = tf.reshape(tf.stack([self.kept, self.filtered, self.skipped]), [3, batches, -1])
        return tf.transpose(tf.math.count_nonzero(masks, axis=2))


def pad(tensor: Any, count: Any, size: int) -> Any:
    """Bring a batch of `count` examples to `size`, repeating its first; a full one is passed on as it is."""

    def padded() -> Any:
        return tf.gather(tensor, tf.where(tf.range(size) < count, tf.range(size), 0))

    full = tf.cond(count < size, padded, lambda: tensor)
    return tf.ensure_shape(full, [size, *tensor.shape[1:]])

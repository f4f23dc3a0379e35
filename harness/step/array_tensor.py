"""All examples of a feature as one tensor, which lies where their array lies, and how batches are cut out of it.

TensorFlow copies whatever does not begin at an aligned address. The arrays of an archive seldom do: there the tensor is
that of the bytes from the last aligned one on, and what is cut out of it becomes numbers then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import tensorflow as tf

__all__ = ["AlignedTensor", "ArrayTensor", "ByteTensor"]

INDEXED_BYTES = 256  # up to so many of an example are gathered one by one; more are cut out an example at a time


class ArrayTensor(ABC):
    """All examples of a feature.

    Attributes:
      tensor: what lies in memory.
      spec: of one example.
    """

    tensor: Any
    spec: tf.TensorSpec

    @abstractmethod
    def cut(self, first: Any, size: int) -> Any:
        """Return examples [first, first + size)."""

    @abstractmethod
    def pad(self, first: Any, count: Any, size: int) -> Any:
        """Return examples [first, first + count), and the first again up to `size` of them."""

    @abstractmethod
    def gather(self, examples: Any) -> Any:
        """Return some examples, int64 [n]."""


class AlignedTensor(ArrayTensor):
    """A tensor of the numbers themselves.

    Args:
      array: [examples, ...], aligned where it is not to be copied.
    """

    def __init__(self, array: np.ndarray, *, copy: bool) -> None:
        self.tensor = tf.constant(array) if copy else tf.experimental.dlpack.from_dlpack(array.__dlpack__())
        self.spec = tf.TensorSpec(self.tensor.shape[1:], self.tensor.dtype)

    def cut(self, first: Any, size: int) -> Any:
        """Return examples [first, first + size): a view, not a copy, where its start is aligned."""
        place = {"begin": first[None], "end": first[None] + size, "strides": tf.ones([1], tf.int64)}
        view = tf.raw_ops.StridedSlice(input=self.tensor, **place)
        return tf.ensure_shape(view, [size, *view.shape[1:]])

    def pad(self, first: Any, count: Any, size: int) -> Any:
        """Return examples [first, first + count), and the first again."""
        offset = tf.range(size, dtype=tf.int64)
        return self.gather(first + tf.where(offset < count, offset, 0))

    def gather(self, examples: Any) -> Any:
        """Return some examples."""
        return tf.gather(self.tensor, examples)


class ByteTensor(ArrayTensor):
    """A tensor of bytes.

    Args:
      lead: the array's bytes and what lies before them from the last aligned one on, uint8 [bytes].
      array: [examples, ...], the same as numbers.
    """

    def __init__(self, lead: np.ndarray, array: np.ndarray) -> None:
        self.tensor = tf.experimental.dlpack.from_dlpack(lead.__dlpack__())
        self.spec = tf.TensorSpec(array.shape[1:], tf.as_dtype(array.dtype))
        self._before = len(lead) - array.nbytes
        self._example_bytes = array.nbytes // len(array)

    def cut(self, first: Any, size: int) -> Any:
        """Return examples [first, first + size)."""
        return self._numbers(self._slice(first, size), size)

    def pad(self, first: Any, count: Any, size: int) -> Any:
        """Return examples [first, first + count), and the first again."""
        offset = tf.range(size, dtype=tf.int64)
        return tf.gather(self._numbers(self._slice(first, count), None), tf.where(offset < count, offset, 0))

    def gather(self, examples: Any) -> Any:
        """Return some examples."""
        if self._example_bytes <= INDEXED_BYTES:
            start = self._before + examples * self._example_bytes
            found = tf.gather(self.tensor, start[:, None] + tf.range(self._example_bytes, dtype=tf.int64))
        else:
            spec = tf.TensorSpec([self._example_bytes], tf.uint8)
            found = tf.map_fn(lambda example: self._slice(example, 1), examples, fn_output_signature=spec)
        return self._numbers(found, None)

    def _slice(self, first: Any, count: Any) -> Any:
        start = self._before + first * self._example_bytes
        return tf.slice(self.tensor, start[None], tf.cast(count, tf.int64)[None] * self._example_bytes)

    def _numbers(self, raw: Any, examples: int | None) -> Any:
        """Read bytes as numbers: [examples, ...]."""
        dtype, count = self.spec.dtype, -1 if examples is None else examples
        if dtype == tf.bool:
            return tf.reshape(raw, [count, *self.spec.shape]) != 0
        parts = [dtype.size] if dtype.size > 1 else []
        return tf.bitcast(tf.reshape(raw, [count, *self.spec.shape, *parts]), dtype)

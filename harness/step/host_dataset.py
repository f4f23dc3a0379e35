"""A dataset of what a Python generator yields: NumPy arrays go to TensorFlow as they are.

`tf.data.Dataset.from_generator` makes eager tensors of what a generator yields, and copies of these: of records that are
serialized, each was copied three times, and made a Python object twice. Knows no feed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.data.ops import from_generator_op  # the public module has no class for the kernel

__all__ = ["host_dataset"]


def host_dataset(generate: Callable[[], Iterator[Any]], signature: Any) -> tf.data.Dataset:
    """Return a dataset of the elements that a generator yields; each iterator over it has a generator of its own.

    Args:
      generate: begins a generator, which is taken from one thread after another and closed with its iterator. Nobody writes
        to an array that it has yielded: TensorFlow reads it where it lies.
      signature: `tf.TensorSpec`s, nested as the elements are. Elements are NumPy arrays of those dtypes, of objects where
        they are texts, or of text.
    Raises (the dataset): tf.errors.InvalidArgumentError: an array has another dtype or shape; tf.errors.UnknownError, or
      what TensorFlow makes of it: the generator failed.

    >>> numbers = host_dataset(lambda: ({"x": np.full(2, n)} for n in range(3)), {"x": tf.TensorSpec([None], tf.int64)})
    >>> [element["x"].tolist() for element in numbers.as_numpy_iterator()]
    [[0, 0], [1, 1], [2, 2]]
    """
    generators = _Generators(generate, tf.nest.flatten(signature))

    def begin(start: Any) -> Any:
        del start
        return _on_host(generators.begin, [], [tf.TensorSpec([], tf.int64)])[0]

    def take(number: Any) -> Any:
        return tf.nest.pack_sequence_as(signature, _on_host(generators.take, [number], generators.specs))

    def end(number: Any) -> Any:
        return _on_host(generators.end, [number], [tf.TensorSpec([], tf.int64)])[0]

    return from_generator_op._GeneratorDataset(tf.constant(0, tf.int64), begin, take, end, signature)


class _Generators:
    """The generators that are under way, one for each iterator."""

    def __init__(self, generate: Callable[[], Iterator[Any]], specs: list[Any]) -> None:
        self.specs = specs
        self._generate = generate
        self._numbers = itertools.count()
        self._running: dict[int, Iterator[Any]] = {}

    def begin(self) -> list[np.ndarray]:
        number = next(self._numbers)
        self._running[number] = self._generate()
        return [np.array(number)]

    def take(self, number: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of the next element; StopIteration is the end, which TensorFlow understands."""
        arrays = tf.nest.flatten(next(self._running[int(number)]))
        for array, spec in zip(arrays, self.specs, strict=True):
            if not spec.shape.is_compatible_with(array.shape):  # of the dtype TensorFlow takes care
                raise ValueError(f"expected an array of shape {spec.shape}, found {array.shape}")
        return [_understood(array) for array in arrays]

    def end(self, number: np.ndarray) -> list[np.ndarray]:
        self._running.pop(int(number), None)
        return [number]


def _understood(array: np.ndarray) -> np.ndarray:
    """Return an array as TensorFlow understands it."""
    # As an array of text TensorFlow takes nothing but ASCII; as objects any text. Of numbers it does not see the order of bytes.
    if array.dtype.kind in "US":
        return array.astype(object)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _on_host(call: Callable[..., Any], inputs: list[Any], specs: list[Any]) -> list[Any]:
    """Call Python in the graph; say what comes of it."""
    tensors = tf.numpy_function(call, inputs, [spec.dtype for spec in specs])
    for tensor, spec in zip(tensors, specs, strict=True):
        tensor.set_shape(spec.shape)
    return list(tensors)

"""Examples that Python hands over: arrays, or a tf.data.Dataset that is the same on all ranks.

Both come as Keras has them: (x, y), (x, y, weights), or a mapping of features by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.data.npz import NpzSource
from harness.data.source import Feature, Origin, Place, Records, Source
from harness.errors import DataError, JobError
from harness.plan.plan import File

__all__ = ["DatasetSource", "Named", "from_arrays", "named", "open_memory"]

HEAD = 64  # examples that ranks compare before they evaluate
X, LABEL, WEIGHT = "x", "label", "weight"


@dataclass(frozen=True)
class Named:
    """What was handed over, by name.

    Attributes:
      values: arrays, tensors or their specs by feature name.
      inputs: features that the model takes in this order; None where they are matched with its inputs by name.
      label, weight: features; None where there is none, or it has to be named.
    """

    values: Mapping[str, Any]
    inputs: tuple[str, ...] | None = None
    label: str | None = None
    weight: str | None = None


def open_memory(origin: Origin) -> Source:
    """Refuse what a job file cannot name.

    Raises: JobError: always.
    """
    raise JobError("data.format: memory is what harness.evaluate(model, data) is given in Python; a job file names files")


def named(data: Any) -> Named:
    """Name the parts of (x, y, weights), of x alone, or of a mapping.

    Raises: JobError: it has more parts, or a name twice.

    >>> named(([1, 2], [0, 1])).values, named({"a": [1]}).inputs
    ({'x': [1, 2], 'label': [0, 1]}, None)
    """
    if isinstance(data, Mapping):
        return Named(dict(data))
    parts = data if isinstance(data, tuple) else (data,)
    if not 1 <= len(parts) <= 3:
        raise JobError(f"data: expected (x, y), (x, y, weights) or features by name, found a tuple of {len(parts)}")
    x, y, weight = (*parts, None, None)[:3]
    values: dict[str, Any] = {}
    inputs: tuple[str, ...] | None = None
    if isinstance(x, Mapping):
        values.update(x)
    else:
        several = x if isinstance(x, tuple) else (x,)
        inputs = (X,) if len(several) == 1 else tuple(f"{X}{number}" for number in range(len(several)))
        values.update(zip(inputs, several, strict=True))
    labels = {} if y is None else dict(y) if isinstance(y, Mapping) else {LABEL: y}
    weights = {} if weight is None else {WEIGHT: weight}
    for features in (labels, weights):
        if twice := set(features) & set(values):
            raise JobError(f"data: more than one part is called {', '.join(sorted(twice))}")
        values.update(features)
    return Named(values, inputs, LABEL if LABEL in labels else None, WEIGHT if weights else None)


def from_arrays(values: Mapping[str, Any]) -> tuple[Source, str]:
    """Take arrays; also return the SHA-256 of their names, dtypes, shapes and contents.

    Args:
      values: arrays, or what NumPy makes arrays of, [examples, ...] by name.
    Raises: JobError: they do not go together.
    """
    arrays = {name: _array(name, value) for name, value in values.items()}
    shapes = ", ".join(f"{name}: {array.dtype} {list(array.shape)}" for name, array in arrays.items())
    if not arrays or any(not array.ndim for array in arrays.values()):
        raise JobError(f"data: expected arrays with one value per example, found {shapes or 'none'}")
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1:
        raise JobError(f"data: expected arrays of one length, found {shapes}")
    total = hashlib.sha256()
    for name, array in arrays.items():
        total.update(f"{name}\0{array.dtype.str}{array.shape}\n".encode())
        total.update(_bytes(array))
    size = sum(array.nbytes for array in arrays.values())
    return NpzSource((File("arrays", size, lengths.pop()),), arrays), total.hexdigest()


def _bytes(array: np.ndarray) -> bytes | memoryview:
    if array.dtype.kind == "O":
        return repr(array.tolist()).encode()
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size and array.itemsize else b""


def _array(name: str, value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind == "O":
        if not all(isinstance(value, str | bytes) for value in array.ravel().tolist()):
            what = "objects: a value is missing (None, NaN), or of another kind or shape"
            raise JobError(f"data: {name}: expected numbers or texts in an array of one shape, found {what}")
        texts = np.empty(array.size, object)  # NumPy's own fixed-width types drop zeros at the end of bytes
        texts[:] = [text.encode() if isinstance(text, str) else text for text in array.ravel().tolist()]
        array = texts.reshape(array.shape)
    if array.dtype.kind == "U":
        array = np.char.encode(array, "utf-8")
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    return array


class DatasetSource(Source):
    """Examples of a tf.data.Dataset; an example's id is its position.

    Args:
      dataset: gives the same elements, in the same order, whenever and wherever it is iterated.
      features: by name.
      examples: how many it has.
      batch: examples an element; None where elements are examples, 0 where batches differ in size.
    """

    def __init__(self, dataset: Any, features: Mapping[str, Feature], examples: int, batch: int | None) -> None:
        self.files = (File("dataset", 0, examples),)
        self._dataset, self._features, self._batch = dataset, dict(features), batch
        self._open: tuple[int, Iterator[Records]] | None = None  # where the last read ended, and what is left

    @classmethod
    def open(cls, dataset: Any, batched: bool | None) -> tuple[DatasetSource, Named]:
        """Look at a dataset's spec, and count its examples by going through it once.

        Args:
          dataset: a tf.data.Dataset.
          batched: whether its elements are batches; None is what their sizes say.
        Raises: JobError: it is endless, its elements are not dense tensors, or it is not plain whether they are batches.
        """
        import tensorflow as tf

        parts = named(dataset.element_spec)
        for name, spec in parts.values.items():
            if not isinstance(spec, tf.TensorSpec) or spec.shape.rank is None:
                raise JobError(f"data: {name}: expected a dense tensor of known rank, found {spec}; map it to one")
        if batched is None:
            batched = _is_batched([tuple(spec.shape) for spec in parts.values.values()])
        if int(dataset.cardinality()) == tf.data.INFINITE_CARDINALITY:
            raise JobError("data: the dataset never ends; take() as many elements as are to be evaluated")
        options = tf.data.Options()
        options.deterministic = True
        dataset = dataset.with_options(options).map(lambda *e: named(e[0] if len(e) == 1 else e).values)
        examples, batch = _count(dataset, batched)
        features = {
            name: Feature(
                "string" if spec.dtype == tf.string else spec.dtype.name, tuple(spec.shape[1:] if batched else spec.shape)
            )
            for name, spec in parts.values.items()
        }
        return cls(dataset, features, examples, batch), parts

    def lies_in(self, number: int) -> Place:
        """Return an empty place: whether a dataset is the same as before cannot be told."""
        del number
        return Place()

    def features(self) -> dict[str, Feature]:
        """Return what the elements hold."""
        return dict(self._features)

    def head(self) -> str:
        """Return the SHA-256 of the first examples.

        Raises: DataError: a second look finds others.
        """
        marks = []
        for _ in range(2):
            total = hashlib.sha256()
            left = min(HEAD, self.files[0].examples)
            for records in self._elements(0):
                for name in sorted(records.raw):
                    array = records.raw[name][:left]
                    total.update(_bytes(array))
                left -= len(records.ids)
                if left <= 0:
                    break
            marks.append(total.hexdigest())
        if marks[0] != marks[1]:
            raise DataError(
                "data: the dataset gave other examples when it was read a second time; an example's id is its position: "
                "shuffle with reshuffle_each_iteration=False and a seed, or not at all"
            )
        return marks[0]

    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Go on where the last read ended, or skip to the start; check that the dataset ends where it ended before."""
        at, source = self._open or (-1, iter(()))
        self._open = None
        if at != start:
            source = _from(self._elements(start), start)
        at = start
        while at < stop:
            records = next(source, None)
            if records is None:
                raise DataError(f"dataset: it ended at example {at}, and had {self.files[0].examples} when it was counted")
            left = stop - at
            if len(records.ids) > left:
                source = _before(records.cut(left, None), source)
                records = records.cut(0, left)
            for first in range(0, len(records.ids), size):
                part = records.cut(first, first + size)
                # Whoever stops here goes on here.
                self._open = (at + first + len(part.ids), _before(records.cut(first + size, None), source))
                yield part
            self._open = None
            at += len(records.ids)
        if stop == self.files[0].examples:
            if next(source, None) is not None:
                raise DataError(f"dataset: it goes on after example {stop - 1}, where it ended when it was counted")
        else:
            self._open = (stop, source)

    def _elements(self, start: int) -> Iterator[Records]:
        """Yield elements from the one that holds an example, or an earlier one; ids are counted."""
        skipped = start if self._batch is None else start // self._batch if self._batch else 0
        at = skipped * (self._batch or 1)
        for element in self._dataset.skip(skipped).as_numpy_iterator():
            raw = {name: np.asarray(value) for name, value in element.items()}
            if self._batch is None:
                raw = {name: value[None] for name, value in raw.items()}
            count = len(next(iter(raw.values())))
            if count:
                yield Records(np.arange(at, at + count, dtype=np.int64), raw)
            at += count

    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Return the wanted tensors; there is nothing to parse."""
        return {name: raw[name] for name in wanted}


def _is_batched(shapes: list[tuple[int | None, ...]]) -> bool:
    """Tell from sizes whether elements are batches.

    Raises: JobError: they do not tell.

    >>> _is_batched([(None, 8), (None,)]), _is_batched([(8,), ()])
    (True, False)
    """
    if any(not shape for shape in shapes):
        return False
    if all(shape[0] is None for shape in shapes):
        return True
    if len({shape[0] for shape in shapes}) > 1:
        return False
    raise JobError(
        f"data: the dataset's elements have the shapes {', '.join(str(list(s)) for s in shapes)}: they may be batches or "
        "examples; say batched=True or batched=False"
    )


def _count(dataset: Any, batched: bool) -> tuple[int, int | None]:
    """Count examples; also return how many a batch has, see `DatasetSource`."""
    import tensorflow as tf

    if not batched:
        known = int(dataset.cardinality())
        return (known if known >= 0 else int(dataset.reduce(tf.constant(0, tf.int64), lambda n, _: n + 1))), None

    def add(held: Any, element: Any) -> Any:
        total, first, ended, even = held
        size = tf.shape(tf.nest.flatten(element)[0], tf.int64)[0]
        first = tf.where(first < 0, size, first)
        # Only the last batch may be shorter than the first.
        return total + size, first, ended | (size != first), even & ~ended & (size <= first)

    zero = tf.constant(0, tf.int64)
    total, first, _, even = dataset.reduce((zero, zero - 1, tf.constant(False), tf.constant(True)), add)
    return int(total), int(first) if bool(even) and int(first) > 0 else 0


def _from(source: Iterator[Records], start: int) -> Iterator[Records]:
    """Leave out the examples before one."""
    for records in source:
        if records.ids[-1] >= start:
            yield records.cut(max(start - int(records.ids[0]), 0), None)


def _before(first: Records, rest: Iterator[Records]) -> Iterator[Records]:
    if len(first.ids):
        yield first
    yield from rest

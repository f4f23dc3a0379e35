"""Features that are made, not read: columns side by side, the user's transform, expressions, and the user's filter.

All of it is built into the graph after parsing, a batch at a time. What is read is what the graph turns out to need.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.data import expressions as expressions_
from harness.data.source import KEEP, SERIALIZED, Feature, Kind, Place, Records, Source
from harness.errors import HarnessError, JobError, nearest
from harness.job.imports import load_object

__all__ = ["DerivedSource"]


class DerivedSource(Source):
    """The examples of a source with further features.

    Args:
      source: what is read.
      declared: the job's word on features of the source; they count more than what the records show.
      columns: features made of others, side by side.
      transform, filter: package.module:function of the user, or None.
      asked: what labels and weights the job names; those that are no features are expressions.
      folder: where the user's modules are looked for first.
    """

    def __init__(
        self,
        source: Source,
        *,
        declared: Mapping[str, Feature],
        columns: Mapping[str, Sequence[str]],
        transform: str | None,
        filter: str | None,
        asked: Sequence[str],
        folder: Path,
    ) -> None:
        self.files = source.files
        self._source = source
        self._declared = dict(declared)
        self._columns = dict(columns)
        self._transform, self._filter = transform, filter
        self._asked = list(dict.fromkeys(asked))
        self._folder = folder
        self._known: tuple[dict[str, Feature], dict[str, Any], dict[str, Feature]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process finds anew."""
        return {**self.__dict__, "_known": None}

    @property
    def counted(self) -> tuple[str, ...]:
        """As the source."""
        return self._source.counted

    @property
    def drawn(self) -> np.ndarray | None:
        """As the source."""
        return self._source.drawn

    @property
    def flat(self) -> bool:
        """As the source; what a transform returns has its shape."""
        return self._source.flat and self._transform is None

    def features(self) -> dict[str, Feature]:
        """Return the features there are after the transform, with columns and expressions."""
        return dict(self._learned()[2])

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> Source:
        """Read only what the wanted features are made of."""
        chosen = copy.copy(self)
        chosen._source = self._source.select(self._base(wanted), skip=skip)
        return chosen

    def read(self, start: int, stop: int, size: int) -> Iterator[Records]:
        """Read from the source."""
        yield from self._source.read(start, stop, size)

    def reads(self, wanted: Mapping[str, Feature]) -> frozenset[str]:
        """Name what the source reads for what the wanted features are made of."""
        return self._source.reads(self._base(wanted))

    def lies_in(self, number: int) -> Place:
        """As the source."""
        return self._source.lies_in(number)

    def explain(self, start: int, stop: int, wanted: Mapping[str, Feature]) -> str | None:
        """Ask the source."""
        return self._source.explain(start, stop, self._base(wanted))

    def parse(self, raw: Mapping[str, Any], wanted: Mapping[str, Feature]) -> dict[str, Any]:
        """Parse what is needed, make the rest of it; what the filter says is under `KEEP`."""
        import tensorflow as tf

        natural = self._learned()[0]
        base = self._base(wanted)
        parsed = self._source.parse(raw, base)
        rows = tf.shape(next(iter(raw.values())))[0]
        static = next(iter(raw.values())).shape[:1]
        whole = {
            name: parsed[name] if name in parsed else tf.ensure_shape(_zeros(feature, rows), [*static, *feature.shape])
            for name, feature in natural.items()
        }
        made = self._make(whole)
        found = {}
        for name, feature in wanted.items():
            tensor = made[name] if name in made else parsed[name]
            if name in natural and feature.shape != natural[name].shape and self._transform is None:
                tensor = tf.reshape(tensor, [-1 if static[0] is None else static[0], *feature.shape])
            found[name] = tensor
        if self._filter:
            found[KEEP] = made[KEEP]
        return found

    def _base(self, wanted: Mapping[str, Feature]) -> dict[str, Feature]:
        """Say what is read of the source for some features."""
        natural = self._learned()[0]
        base = {name: natural[name] for name in natural if name in self._used(wanted)}
        if self._transform is None:
            base |= {name: feature for name, feature in wanted.items() if name not in natural and name not in self._made_names()}
        elif SERIALIZED in wanted:
            base[SERIALIZED] = wanted[SERIALIZED]
        return base

    def _made_names(self) -> set[str]:
        return {*self._columns, *self._learned()[1]}

    def _used(self, wanted: Mapping[str, Feature]) -> set[str]:
        """Return the features that the graph of the wanted ones hangs on."""
        natural = self._learned()[0]
        graph, inputs, outputs = self._trace(natural)
        ends = [outputs[name] for name in (*wanted, KEEP) if name in outputs]
        seen: set[int] = set()
        while ends:
            tensor = ends.pop()
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            ends += [*tensor.op.inputs, *(out for op in tensor.op.control_inputs for out in op.outputs)]
        del graph
        return {name for name, tensor in inputs.items() if id(tensor) in seen}

    def _trace(self, natural: Mapping[str, Feature]) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        import tensorflow as tf

        inputs: dict[str, Any] = {}
        outputs: dict[str, Any] = {}

        def traced(features: dict[str, Any]) -> list[Any]:
            inputs.update(features)
            outputs.update(self._make(dict(features)))
            return list(outputs.values())

        # As the pipeline traces it: in a bare graph `==` would compare tensors by identity, and `if` not work at all.
        specs = {n: tf.TensorSpec([None, *f.shape], _dtype(f)) for n, f in natural.items()}
        graph = tf.function(traced).get_concrete_function(specs)
        return graph, inputs, outputs

    def _learned(self) -> tuple[dict[str, Feature], dict[str, Any], dict[str, Feature]]:
        """Find out once: what can be read, the expressions, and what there is in the end."""
        if self._known is None:
            found = {**self._source.features(), **self._declared}
            if self._source.flat:
                found = {
                    n: Feature(f.dtype, ()) if f.kind is Kind.FIXED and f.shape == (1,) and n not in self._declared else f
                    for n, f in found.items()
                }
            natural = {name: feature for name, feature in found.items() if None not in feature.shape}
            natural |= self._numbers(natural)
            self._known = (natural, {}, {})
            for name, parts in self._columns.items():
                for part in parts:
                    if part not in natural:
                        raise JobError(
                            f"data.features.{name}.columns: the data has no feature '{part}': {nearest(part, natural)}"
                        )
                    if natural[part].dtype == "string":
                        raise JobError(f"data.features.{name}.columns: expected numbers, feature '{part}' is string")
            _, _, made = self._trace(natural)
            there = made if self._transform else {**found, **made}
            trees = {}
            for text in self._asked:
                if text not in there:
                    trees[text] = self._expression(text, there)
            self._known = (natural, trees, {})
            _, _, made = self._trace(natural)
            made.pop(KEEP, None)
            after = {name: _feature(tensor) for name, tensor in made.items()}
            if self._transform is None:
                # what the source says goes first: it knows kinds, and lengths that differ
                after |= {**self._source.features(), **self._declared, **self._numbers(natural)}
            self._known = (natural, trees, after)
        return self._known

    def _numbers(self, natural: Mapping[str, Feature]) -> dict[str, Feature]:
        """Return what stands side by side as numbers: a column of text is read as such though its first rows do not look it.

        In float64, from which what looks like numbers is rounded as well: a row that holds none is bad, and named.
        """
        if not self._source.text:
            return {}
        parts = dict.fromkeys(part for parts in self._columns.values() for part in parts if part not in self._declared)
        asked = {part: natural[part] for part in parts if part in natural}
        return {part: Feature("float64", found.shape) if found.dtype == "string" else found for part, found in asked.items()}

    def _expression(self, text: str, there: Mapping[str, Any]) -> Any:
        what = "label or weight"
        if text.isidentifier():
            raise JobError(f"{what}: the data has no feature '{text}': {nearest(text, there)}")
        tree = expressions_.parse(text, f"{what} '{text}'")
        for name in sorted(expressions_.names(tree)):
            if name not in there:
                raise JobError(
                    f"{what}: '{text}' is no feature, and as an expression reads '{name}', which is none: {nearest(name, there)}"
                )
        return tree

    def _make(self, features: dict[str, Any]) -> dict[str, Any]:
        """Build the further features of a batch into the graph."""
        import tensorflow as tf

        from harness.exact.tf_subnormals import narrowed

        for name, parts in self._columns.items():
            columns = [features[part] for part in parts]
            if any(column.dtype != tf.float64 for column in columns):
                columns = [narrowed(column) for column in columns]
            features[name] = narrowed(tf.stack(columns, axis=1))  # of many columns once
        if self._transform:
            features = self._call(self._transform, "data.transform", features)
        trees = self._known[1] if self._known else {}
        features |= {text: expressions_.evaluate(tree, features, f"label or weight '{text}'") for text, tree in trees.items()}
        if self._filter:
            function = self._load(self._filter, "data.filter")
            keep = _guarded(function, dict(features), f"data.filter: {self._filter}")
            keep = tf.convert_to_tensor(keep)
            if keep.dtype != tf.bool or keep.shape.rank != 1:
                raise JobError(f"data.filter: {self._filter} returned {keep.dtype.name} {list(keep.shape)}, expected bool [B]")
            features[KEEP] = keep
        return features

    def _call(self, target: str, what: str, features: dict[str, Any]) -> dict[str, Any]:
        import tensorflow as tf

        found = _guarded(self._load(target, what), features, f"{what}: {target}")
        if not isinstance(found, Mapping):
            raise JobError(f"{what}: {target} returned a {type(found).__name__}, expected a dictionary of features")
        tensors = {name: tf.convert_to_tensor(value) for name, value in found.items()}
        for name, tensor in tensors.items():
            if tensor.shape.rank is None or not tensor.shape.rank:
                raise JobError(f"{what}: {target}: feature '{name}' has shape {tensor.shape}, expected examples along the first")
        return tensors

    def _load(self, target: str, what: str) -> Callable[[dict[str, Any]], Any]:
        import tensorflow as tf

        function = load_object(target, self._folder, what)
        if not callable(function):
            raise JobError(f"{what}: {target} is a {type(function).__name__}, expected a function")
        if not inspect.isfunction(function):
            return function
        try:
            # The user may write `if` and `for` over tensors; the pipeline around it is not converted, which takes long.
            return tf.autograph.to_graph(function)
        except Exception:  # noqa: BLE001 - its source is not to be had, or ambiguous: it may do as it is
            return function


def _guarded(function: Callable[[dict[str, Any]], Any], features: dict[str, Any], what: str) -> Any:
    try:
        return function(features)
    except HarnessError:
        raise
    except Exception as exc:  # the user's own code raises what it likes
        reason = (
            f"no feature {exc}: {nearest(str(exc.args[0]), features)}" if isinstance(exc, KeyError) and exc.args else str(exc)
        )
        raise JobError(f"{what} fails: {type(exc).__name__}: {' '.join(reason.split())[:400]}") from exc


def _feature(tensor: Any) -> Feature:
    return Feature(tensor.dtype.name, tuple(tensor.shape[1:]))


def _dtype(feature: Feature) -> Any:
    import tensorflow as tf

    return tf.as_dtype(feature.dtype)


def _zeros(feature: Feature, rows: Any) -> Any:
    import tensorflow as tf

    value = "" if feature.dtype == "string" else 0
    return tf.fill([rows, *feature.shape], tf.constant(value, _dtype(feature)))

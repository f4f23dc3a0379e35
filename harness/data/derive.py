"""Features that are made, not read: columns side by side, the user's transform, expressions, and the user's filter.

All of it is built into the graph after parsing, a batch at a time. What is read is what the graph turns out to need.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import expressions as expressions_
from harness.data import user_functions
from harness.data.source import KEEP, SERIALIZED, Feature, Kind, Place, Records, Source
from harness.errors import JobError, nearest
from harness.plan.drawn import Drawn

__all__ = ["DerivedSource"]


@dataclass(frozen=True)
class _Traced:
    """The graph of all features: its inputs and outputs by name. `graph` keeps them alive."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]
    graph: Any


@dataclass(frozen=True)
class _Known:
    """What there is: features that can be read (`natural`), their graph, expressions by their text, all features in the end."""

    natural: dict[str, Feature]
    traced: _Traced
    expressions: dict[str, ast.expr]
    features: dict[str, Feature]


class DerivedSource(Source):
    """The examples of a source with further features.

    Args:
      source: what is read.
      declared: the job's word on features of the source; they count more than what the records show.
      columns: features made of others, side by side.
      transform, filter: package.module:function of the user, or None.
      asked: what labels and weights the job names, each with its key; those that are no features are expressions.
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
        asked: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.files = source.files
        self._source = source
        self._declared = dict(declared)
        self._columns = dict(columns)
        self._transform, self._filter = transform, filter
        self._asked = dict(asked)
        self._folder = folder
        self._known: _Known | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process finds anew."""
        return {**self.__dict__, "_known": None}

    @property
    def counted(self) -> tuple[str, ...]:
        """As the source."""
        return self._source.counted

    @property
    def drawn(self) -> Drawn | None:
        """As the source."""
        return self._source.drawn

    @property
    def flat(self) -> bool:
        """As the source; what a transform returns has its shape."""
        return self._source.flat and self._transform is None

    def features(self) -> dict[str, Feature]:
        """Return the features there are after the transform, with columns and expressions."""
        return dict(self._learned().features)

    def select(self, wanted: Mapping[str, Feature], *, skip: bool = False) -> Source:
        """Read only what the wanted features are made of."""
        chosen = copy.copy(self)
        chosen._source = self._source.select(self._base(wanted), skip=skip)
        chosen._known = self._learned()  # of all that can be read
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

        known, natural = self._learned(), self._learned().natural
        parsed = self._source.parse(raw, self._base(wanted))
        rows = tf.shape(next(iter(raw.values())))[0]
        static = next(iter(raw.values())).shape[:1]
        columns, whole = self._columns, parsed
        if self._transform or self._filter:
            # The user's function may look at any feature: what nothing hangs on is zeros.
            whole = {
                name: parsed[name] if name in parsed else tf.ensure_shape(_zeros(feature, rows), [*static, *feature.shape])
                for name, feature in natural.items()
            }
        else:
            columns = {name: parts for name, parts in columns.items() if all(part in parsed for part in parts)}
        expressions = {text: tree for text, tree in known.expressions.items() if text in wanted or self._filter}
        derived = self._make(dict(whole), columns, expressions)
        features = {}
        for name, feature in wanted.items():
            tensor = derived[name] if name in derived else parsed[name]
            if name in natural and feature.shape != natural[name].shape and self._transform is None:
                tensor = tf.reshape(tensor, [-1 if static[0] is None else static[0], *feature.shape])
            features[name] = tensor
        if self._filter:
            features[KEEP] = derived[KEEP]
        return features

    def _base(self, wanted: Mapping[str, Feature]) -> dict[str, Feature]:
        """Say what is read of the source for some features."""
        natural = self._learned().natural
        used = self._used(wanted)
        base = {name: natural[name] for name in natural if name in used}
        if self._transform is None:
            base |= {
                name: feature for name, feature in wanted.items() if name not in natural and name not in self._derived_names()
            }
        elif SERIALIZED in wanted:
            base[SERIALIZED] = wanted[SERIALIZED]
        return base

    def _derived_names(self) -> set[str]:
        return {*self._columns, *self._learned().expressions}

    def _used(self, wanted: Mapping[str, Feature]) -> set[str]:
        """Return the features that the graph of the wanted ones hangs on."""
        traced = self._learned().traced
        pending = [traced.outputs[name] for name in (*wanted, KEEP) if name in traced.outputs]
        seen: set[int] = set()
        while pending:
            tensor = pending.pop()
            if id(tensor) in seen:
                continue
            seen.add(id(tensor))
            pending += [*tensor.op.inputs, *(output for op in tensor.op.control_inputs for output in op.outputs)]
        return {name for name, tensor in traced.inputs.items() if id(tensor) in seen}

    def _trace(self, natural: Mapping[str, Feature], expressions: Mapping[str, ast.expr]) -> _Traced:
        """Build the graph of all features once, to see what each hangs on."""
        import tensorflow as tf

        inputs: dict[str, Any] = {}
        outputs: dict[str, Any] = {}

        def traced(features: dict[str, Any]) -> list[Any]:
            inputs.update(features)
            outputs.update(self._make(dict(features), self._columns, expressions))
            return list(outputs.values())

        # As the pipeline traces it, which converts the user's functions alone. In a bare graph `==` would compare tensors by
        # identity, and `if` not work at all.
        specs = {name: tf.TensorSpec([None, *feature.shape], feature.dtype) for name, feature in natural.items()}
        graph = tf.function(traced, autograph=False).get_concrete_function(specs)
        return _Traced(inputs, outputs, graph)

    def _learned(self) -> _Known:
        """Find out once: what can be read, the expressions, and what there is in the end."""
        if self._known is None:
            declared = self._declared_features()
            natural = {name: feature for name, feature in declared.items() if None not in feature.shape}
            natural |= self._numbers(natural)
            self._check_columns(natural)
            traced = self._trace(natural, {}) if self._transform else None
            names = traced.outputs if traced else {**declared, **natural, **self._columns}
            expressions = {text: _expression(text, names, key) for text, key in self._asked.items() if text not in names}
            if traced is None or expressions:
                traced = self._trace(natural, expressions)
            derived = {name: tensor for name, tensor in traced.outputs.items() if name != KEEP}
            features = {name: Feature(tensor.dtype.name, tuple(tensor.shape[1:])) for name, tensor in derived.items()}
            if self._transform is None:
                # what the source says goes first: it knows kinds, and lengths that differ
                features |= {**self._source.features(), **self._declared, **self._numbers(natural)}
            self._known = _Known(natural, traced, expressions, features)
        return self._known

    def _declared_features(self) -> dict[str, Feature]:
        """Return the features of the source as the job declares them; a flat list of one value is that value."""
        features = {**self._source.features(), **self._declared}
        if not self._source.flat:
            return features
        return {
            name: Feature(feature.dtype, ())
            if feature.kind is Kind.FIXED and feature.shape == (1,) and name not in self._declared
            else feature
            for name, feature in features.items()
        }

    def _check_columns(self, natural: Mapping[str, Feature]) -> None:
        """See that what stands side by side are numbers of the source.

        Raises: JobError: one is not.
        """
        for name, parts in self._columns.items():
            for part in parts:
                if part not in natural:
                    raise JobError(f"data.features.{name}.columns: the data has no feature '{part}': {nearest(part, natural)}")
                if natural[part].dtype == "string":
                    raise JobError(f"data.features.{name}.columns: expected numbers, feature '{part}' is string")

    def _numbers(self, natural: Mapping[str, Feature]) -> dict[str, Feature]:
        """Return what stands side by side as numbers: a column of text is read as such though its first rows do not look it.

        In float64, from which what looks like numbers is rounded as well: a row that holds none is bad, and named.
        """
        if not self._source.text:
            return {}
        parts = dict.fromkeys(part for parts in self._columns.values() for part in parts if part not in self._declared)
        return {
            part: Feature("float64", natural[part].shape) if natural[part].dtype == "string" else natural[part]
            for part in parts
            if part in natural
        }

    def _make(
        self, features: dict[str, Any], columns: Mapping[str, Sequence[str]], expressions: Mapping[str, ast.expr]
    ) -> dict[str, Any]:
        """Build the further features of a batch into the graph.

        Args:
          features: of the source, [B, ...] by name.
          columns, expressions: those that are made.
        """
        import tensorflow as tf

        from harness.exact.tf_subnormals import narrowed

        for name, parts in columns.items():
            tensors = [features[part] for part in parts]
            if len({tensor.dtype for tensor in tensors}) > 1:
                tensors = [narrowed(tensor) for tensor in tensors]
            features[name] = narrowed(tf.stack(tensors, axis=1))  # of many columns once
        if self._transform:
            features = user_functions.transform(self._transform, self._folder, features)
        features |= {text: expressions_.evaluate(tree, features, self._asked[text]) for text, tree in expressions.items()}
        if self._filter:
            features[KEEP] = user_functions.keep(self._filter, self._folder, features)
        return features


def _expression(text: str, features: Mapping[str, Any], what: str) -> Any:
    if text.isidentifier():
        raise JobError(f"{what}: the data has no feature '{text}': {nearest(text, features)}")
    tree = expressions_.parse(text, what)
    for name in sorted(expressions_.names(tree)):
        if name not in features:
            raise JobError(
                f"{what}: '{text}' is no feature, and as an expression reads '{name}', which is none: {nearest(name, features)}"
            )
    return tree


def _zeros(feature: Feature, rows: Any) -> Any:
    import tensorflow as tf

    value = "" if feature.dtype == "string" else 0
    return tf.fill([rows, *feature.shape], tf.constant(value, feature.dtype))

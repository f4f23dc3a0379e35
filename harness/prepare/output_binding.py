"""Find the output that each metric reads, where the job does not say. Pure; knows dtypes and shapes, no tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.data import Feature
from harness.errors import JobError
from harness.metrics.contract import Binding, Inputs

__all__ = ["choose_outputs", "reads"]

Shape = tuple[int | None, ...]


def choose_outputs(
    bindings: Mapping[str, Binding], outputs: Mapping[str, Feature | None], features: Mapping[str, Feature]
) -> dict[str, Binding]:
    """Give each binding without an output the one that its metric can read.

    Of several the one that no metric of another label can read: a class label fits the scores of the classes, and would fit
    a predicted amount as the score of one of two classes, but the label of that amount fits nothing else.

    Args:
      bindings: by the key of the metric; an output is empty where the job names none.
      outputs: what is known of each output of the model, the batch left away; None: nothing.
      features: of the data.
    Raises: JobError: several outputs fit a metric, or none does.
    """
    readable = {
        key: [binding.output] if binding.output else [
            name for name, output in outputs.items() if reads(binding, features.get(binding.label or ""), output)
        ]
        for key, binding in bindings.items()
    }  # fmt: skip
    labels = {
        name: {bindings[key].label for key, names in readable.items() if name in names and bindings[key].label is not None}
        for name in outputs
    }
    chosen = {}
    for key, names in readable.items():
        own = [name for name in names if labels[name] == {bindings[key].label}]
        best = names if len(names) == 1 else own
        if len(best) != 1:
            raise JobError(f"metric {key}: {_choice(names, outputs)}")
        chosen[key] = replace(bindings[key], output=best[0])
    return chosen


def reads(binding: Binding, label: Feature | None, output: Feature | None) -> bool:
    """Say whether a metric can read an output beside its label; what is not known is no hindrance.

    >>> scores, amount = Feature("float32", (10,)), Feature("float32", (1,))
    >>> [reads(Binding(Inputs.CLASSES, ""), Feature("int64", ()), output) for output in (scores, amount)]
    [True, True]
    >>> [reads(Binding(Inputs.NUMBERS, ""), Feature("float32", ()), output) for output in (scores, amount)]
    [False, True]
    """
    if binding.inputs is Inputs.RAW or output is None:
        return True
    if output.dtype == "string":
        return False
    if binding.inputs is Inputs.OUTPUT or label is None:
        return True
    by_class = binding.inputs in (Inputs.CLASSES, Inputs.BINARY)
    if label.dtype == "string" and not by_class:
        return False
    if by_class and binding.classes is not None:
        return _is_integer(output) and _same(label.shape, output.shape)
    if by_class and not binding.one_hot:
        several = bool(output.shape) and output.shape[-1] != 1
        return _same(label.shape, output.shape[:-1]) if several else _same(label.shape, output.shape)
    if binding.inputs is Inputs.MULTILABEL and not output.shape:
        return False
    return _same(label.shape, output.shape)


def _is_integer(output: Feature) -> bool:
    return output.dtype not in ("bool", "bfloat16") and np.issubdtype(np.dtype(output.dtype), np.integer)


def _same(label: Shape, output: Shape) -> bool:
    """Compare shapes as metrics do: dimensions of 1 may be there or not, one that is not known is like any.

    >>> _same((1,), ()), _same((None, 3), (5, 3)), _same((5,), (3,))
    (True, True, False)
    """
    sizes = [[size for size in shape if size != 1] for shape in (label, output)]
    return len(sizes[0]) == len(sizes[1]) and all(a is None or b is None or a == b for a, b in zip(*sizes, strict=True))


def _choice(names: Sequence[str], outputs: Mapping[str, Feature | None]) -> str:
    """Say between which outputs the job has to choose."""
    listed = ", ".join(f"{name} ({output or 'of any shape'})" for name, output in sorted(outputs.items()) if name in names)
    if listed:
        return f"the model has several outputs, say which: output: one of {listed}"
    every = ", ".join(f"{name} ({output or 'of any shape'})" for name, output in sorted(outputs.items()))
    return f"the model has several outputs, and none is of a shape that goes with its label; say which: output: one of {every}"

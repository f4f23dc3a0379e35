"""What one batch tells, traced on its own: how many batches make a group, and where everything lies in the sums."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from harness.errors import ShapeError
from harness.exact.limbs import HEADROOM, additions
from harness.step.batch import Batch
from harness.step.example_choice import ExampleChoice
from harness.step.forward import Forward
from harness.step.grid import TFGrid
from harness.step.terms import Terms
from harness.step.traced_terms import TracedTerms
from harness.sums.sums import Layouts

__all__ = ["Shapes", "learn"]

# Terms are formed of several batches at once: their operations cost time however few examples there are. A group ends
# where a call ends, so it never holds up a batch.
GROUP_EXAMPLES = 4096
GROUP_BATCHES = 64
# With replicates an example costs far more than the operations' own time, and so does the padding of a group that ends early.
GROUP_REPLICATED = 256
GROUP_BYTES = 8 << 20  # of what the terms read
STRING_BYTES = 64  # what a string is taken for
ROW = 16  # tensors of terms have a multiple of 16 rows: vector functions give other bits in a shorter tail
LEAST_EXAMPLES = 2  # of a group: the sum over the positions of a single example would be one over a whole tensor


@dataclass(frozen=True)
class Shapes:
    """What the compiled step is made for.

    Attributes:
      group: batches whose terms are formed together.
      features: names of those that the terms and the grid read.
      outputs: specs of those that the terms read, by name, [B, ...].
      columns: dtype and rank of what is handed to the host, by column.
      layouts: of the sums.
      row_widths: columns of the packed rows of each row metric; last those of the examples, where some are kept.
      carry_every: groups that may be added to the state before a carry.
    """

    group: int
    features: tuple[str, ...]
    outputs: Mapping[str, Any]
    columns: Mapping[str, tuple[Any, int]]
    layouts: Layouts
    row_widths: tuple[int, ...]
    carry_every: int


def learn(batch: Batch, forward: Forward, terms: Terms, grid: TFGrid, choice: ExampleChoice) -> tuple[Shapes, TracedTerms]:
    """Trace a batch of these specs through the model, and a group of them through the terms; grid and choice plan their layouts.

    Raises: ShapeError: a tensor does not fit its metric, or has a size that is not known.
    """
    read: list[_Read] = []

    def trace(element: Mapping[str, Any]) -> None:
        read.append(_read(Batch(**element), forward, terms, grid))

    tf.function(trace, autograph=False).get_concrete_function(batch.element())
    specs = read[0]
    size = specs.marks[0].shape[0]
    rows = size * terms.common_positions(specs.features)
    group = _group(size, rows, [*specs.marks, *specs.features.values(), *specs.outputs.values()], replicated=grid.draws > 1)
    examples = group * size
    features, outputs = (
        {name: _of_examples(spec, examples) for name, spec in by_name.items()} for by_name in (specs.features, specs.outputs)
    )
    traced = TracedTerms(terms, terms.labels.looked_up(features), outputs, examples)
    formed = traced.formed
    carry_every = additions(formed.additions)
    if not carry_every:
        raise ShapeError(
            f"a batch adds up to {formed.additions:,} numbers to one sum, expected at most {HEADROOM:,}: lower batch_size"
        )
    layouts = Layouts(
        formed.layout,
        grid.plan(formed),
        {key: replace(layout, clustered=grid.clustered) for key, (layout, _, _) in formed.rows.items()},
        len(grid.slice_specs),
        grid.draws,
        choice.plan(features, outputs, examples),
    )
    head = 1 + grid.clustered + layouts.specs  # columns in front of a row metric's own: see `Step`
    widths = tuple(head + int(packed.shape[1]) for _, packed, _ in formed.rows.values())
    widths += (layouts.examples.width,) if choice.active else ()
    return Shapes(group, tuple(features), specs.outputs, specs.columns, layouts, widths, carry_every), traced


@dataclass(frozen=True)
class _Read:
    """Specs of what the terms and the grid read of a batch, and what is handed to the host."""

    marks: list[Any]
    features: Mapping[str, Any]
    outputs: Mapping[str, Any]
    columns: Mapping[str, tuple[Any, int]]


def _read(batch: Batch, forward: Forward, terms: Terms, grid: TFGrid) -> _Read:
    outputs = forward.outputs(batch)
    names = dict.fromkeys((*terms.features, *grid.features))
    return _Read(
        [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in (batch.ids, batch.bad, batch.keep) if tensor is not None],
        {name: _spec(f"feature {name}", batch.features[name]) for name in names},
        {name: _spec(f"output {name}", outputs[name]) for name in terms.outputs},
        {name: (tensor.dtype, tensor.shape.rank) for name, tensor in forward.columns(batch, outputs).items()},
    )


def _spec(label: str, tensor: Any) -> Any:
    """Return the spec of a tensor whose sizes are all known.

    Raises: ShapeError: one is not.
    """
    shape = tensor.shape.as_list() if tensor.shape.rank is not None else None
    if shape is None or None in shape:
        raise ShapeError(f"{label}: expected sizes that are known, found {tensor.dtype.name} {shape}, the batch first")
    return tf.TensorSpec(shape, tensor.dtype)


def _group(size: int, rows: int, specs: list[Any], *, replicated: bool) -> int:
    """Return how many batches make a group; tensors of terms get a multiple of 16 rows.

    Args:
      size: examples a batch.
      rows: of the tensors of terms, a batch: its examples, or the positions of them.
      specs: of what the terms read.
      replicated: whether there are replicates.
    """
    bytes_ = sum(int(np.prod(spec.shape.as_list())) * (spec.dtype.size or STRING_BYTES) for spec in specs)
    unit = max(ROW // math.gcd(ROW, rows), -(-LEAST_EXAMPLES // size))
    most = GROUP_REPLICATED if replicated else GROUP_EXAMPLES
    batches = max(1, min(most // size, GROUP_BYTES // bytes_, GROUP_BATCHES))
    return -(-batches // unit) * unit


def _of_examples(spec: Any, examples: int) -> Any:
    return tf.TensorSpec([examples, *spec.shape[1:]], spec.dtype)

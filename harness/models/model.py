"""What a model is to the harness: inputs, outputs, and a function that predicts. Knows nothing of files, data or metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from harness.models.served_model import ServedModel

__all__ = ["Model"]

PREDICT = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class Model:
    """A model that is ready to predict.

    `inputs` and `outputs` are TensorSpecs by name, the batch dimension first and unknown. `predict` maps tensors by
    input name to tensors by output name, and may be traced into a graph. `signatures` says of each signature that a file
    has what it takes and gives; `used` is the one at hand. `models` names the inputs of each model, where several are one.
    `served` are those of them that another process serves, by name, an only one without; `inside` predicts with the others,
    where there are some of both kinds.
    """

    path: str
    inputs: Mapping[str, tf.TensorSpec]
    outputs: Mapping[str, tf.TensorSpec]
    predict: PREDICT
    kind: str = "model"
    signatures: Mapping[str, str] = field(default_factory=dict)
    used: str | None = None
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    served: Mapping[str, ServedModel] = field(default_factory=dict)
    inside: PREDICT | None = None

    def describe(self) -> str:
        """Write inputs and outputs, one line each."""
        lines = [f"  {kind} {name}: {spec.dtype.name} {list(spec.shape)}" for kind, specs in
                 (("input ", self.inputs), ("output", self.outputs)) for name, spec in specs.items()]  # fmt: skip
        return "\n".join(lines)

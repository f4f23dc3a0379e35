"""Two outputs at the same positions: each is read as if it were alone, and a position counts where both are valid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import tensorflow as tf

from harness.errors import ShapeError
from harness.metrics.contract import Binding, Inputs
from harness.step.positions import Positions, positions_of

__all__ = ["BASELINE", "paired_positions"]

BASELINE = "baseline"  # the keyword under which `terms` of a metric that compares gets the second output


def paired_positions(binding: Binding, features: Mapping[str, Any], outputs: Mapping[str, Any], mask: Any) -> Positions:
    """Return the positions of a binding, with those of its baseline where it has one; see `positions_of`.

    Raises: ShapeError: label, output or weight do not fit each other, or the two outputs do not.
    """
    own = positions_of(replace(binding, baseline=None), features, outputs, mask)
    if binding.baseline is None:
        return own
    other = positions_of(replace(binding, output=binding.baseline, baseline=None), features, outputs, mask)
    shapes = [positions.predictions.shape.as_list() for positions in (own, other)]
    if own.per_example != other.per_example or (binding.inputs is not Inputs.RAW and shapes[0] != shapes[1]):
        raise ShapeError(
            f"expected a baseline of the shape of the output, found output '{binding.output}' "
            f"{list(outputs[binding.output].shape)} and baseline '{binding.baseline}' {list(outputs[binding.baseline].shape)}"
        )
    return replace(
        own,
        valid=own.valid & other.valid,
        # What is masked or ignored is so for both. A position that is no good in both is counted as in the first.
        status=tf.where(own.valid, other.status, own.status),
        statuses=max(own.statuses, other.statuses),
        baseline=other.predictions,
    )

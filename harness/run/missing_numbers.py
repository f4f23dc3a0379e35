"""Where a number that a model reads is missing: what makes its predictions NaN, and metrics null."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.data import Feature, Source
from harness.plan.plan import Plan

__all__ = ["first_missing"]

EXAMPLES_AT_ONCE = 256


def first_missing(source: Source, plan: Plan, features: Mapping[str, Feature], stop: int) -> str | None:
    """Name the first number that is NaN or infinite in the examples [0, stop), with its column, file and record.

    Args:
      features: that the model reads.
    Returns: None where there is none. Records that have to be parsed first, as TFRecord's, are not looked into.
    """
    for records in source.select(features).read(0, stop, EXAMPLES_AT_ONCE):
        numbers = {name: array.reshape(len(array), -1) for name, array in records.raw.items() if array.dtype.kind == "f"}
        places = {name: np.argwhere(~np.isfinite(array)) for name, array in numbers.items()}
        if found := [(int(rows[0][0]), name) for name, rows in places.items() if len(rows)]:
            row, name = min(found)
            file, record = plan.locate(int(records.ids[row]))
            at = int(places[name][0][1])
            column = name if numbers[name].shape[1] == 1 else f"{name}[{at}]"
            return f"{column} is {numbers[name][row, at]} in {plan.files[file].path}, record {record}"
    return None

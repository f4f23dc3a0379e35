"""From one metric's sums to its value: null with a reason where there is none. Pure."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from harness.errors import HarnessError
from harness.exact.limbs import EXACT, GRID_BITS
from harness.job.user_code import raised
from harness.metrics.contract import Binding, Metric, RowMetric, Totals, Undefined, row_sums
from harness.metrics.status import Status, reasons
from harness.metrics.totals import ERROR_DIGITS, ROUNDING, resolved
from harness.sums.layout import INFINITE, Layout

__all__ = ["Result", "objections", "result", "with_details"]

NO_SPREAD = "all {n} examples add the same: they show no spread to tell a standard error by"


@dataclass(frozen=True)
class Result:
    """What is reported of one metric: its value, or null and why; how many examples, and positions of them, went into it.

    `no_error` says why there is no standard error where there is a formula for one. `totals` are what the value was made of;
    None where it is null. `support` and `bounds` are there where `with_details` has put them.
    """

    value: Any
    reason: str | None
    examples: int
    positions: int
    standard_error: float | None = None
    no_error: str | None = None
    totals: Totals | None = field(default=None, compare=False, repr=False)
    support: Mapping[str, float] | None = None
    bounds: tuple[float, float] | None = None


def objections(
    layout: Layout, state: np.ndarray, key: str, metric: Metric, binding: Binding, classes: tuple[str, ...] | None
) -> list[str]:
    """Return why a metric has no value, as far as its positions and terms say; see `result`."""
    texts = reasons(layout.totals(state, binding)["status"], metric, classes)
    refused_terms = layout.refused(state, key)
    if texts or not refused_terms:
        return texts
    infinite = sum(int(count.sum()) for name, count in layout.counts(state, key).items() if name.endswith(INFINITE))
    meaning = metric.infinite_term()
    if infinite and meaning:
        return [f"{infinite:,} {meaning}"]
    return [f"{refused_terms} terms are NaN, infinite or not below 2^128"]


def result(
    layout: Layout,
    state: np.ndarray,
    key: str,
    metric: Metric,
    binding: Binding,
    classes: tuple[str, ...] | None,
    rows: Mapping[str, Any] | str | None = None,
) -> Result:
    """Compute the value of one metric.

    Args:
      layout: of the state.
      state: int64 [layout.size], summed over all ranks.
      key, metric, binding: the metric and what it reads.
      classes: names of the classes.
      rows: what the metric's rows were folded to, or why they could not be.
    """
    shared = layout.totals(state, binding)
    status = shared["status"]
    positions = int(status[Status.VALID] + status[Status.SMALL_WEIGHT])
    examples = int(shared["examples"][0]) if "examples" in shared else positions
    texts = objections(layout, state, key, metric, binding, classes)
    if not texts and not positions:
        texts.append("there is nothing to score: every position is ignored")
    if not texts and isinstance(rows, str):
        texts.append(rows)
    if texts:
        return Result(None, "; ".join(texts), examples, positions)
    weight = shared["weight"].item() if "weight" in shared else Fraction(positions)
    # Rows bring weights to whole numbers of a unit of their own.
    if not isinstance(metric, RowMetric) and (reason := _too_small(int(status[Status.SMALL_WEIGHT]), weight)):
        return Result(None, reason, examples, positions)
    squares = shared["weight^2"].item() if "weight^2" in shared else None
    off = layout.rounded(state, binding).get("weight^2")
    if squares and off is not None and not resolved(squares, int(off) * ROUNDING, ERROR_DIGITS):
        squares = Fraction(0)  # no standard error can be made of them
    sums = layout.totals(state, key)
    if rows and not isinstance(rows, str):
        sums |= row_sums(rows)
    totals = Totals(
        sums,
        positions=positions,
        weight=weight,
        classes=classes,
        examples=examples,
        weight_squares=squares,
        rounded=layout.rounded(state, key),
    )
    try:
        # The square of a number of 2^64 is too large for a cell; the number is not.
        error = None if layout.refused(state, key, spread=True) else _called(key, metric, "standard_error", totals)
        value = _called(key, metric, "value", totals)
        if text := _not_finite(value):
            return Result(None, text, examples, positions)
        if error is not None and not math.isfinite(error):
            return Result(value, None, examples, positions, None, f"its standard error came out as {error}", totals)
        if error == 0:  # no spread was seen, which does not mean that there is none
            return Result(value, None, examples, positions, None, NO_SPREAD.format(n=examples), totals)
        return Result(value, None, examples, positions, error, None, totals)
    except Undefined as exc:
        # Where nothing weighs anything, that is why: what a metric makes of its own sums of zero would mislead.
        return Result(None, str(exc) if weight else "the total weight is zero", examples, positions)


def _not_finite(value: Any) -> str | None:
    """Say which number of a value is none: a metric of the user's own may not have said that there is no value."""
    numbers = value.items() if isinstance(value, Mapping) else [("", value)]
    for name, number in numbers:
        if isinstance(number, float) and not math.isfinite(number):
            return f"its value came out as {number}" + (f" for {name}" if name else "")
    return None


def with_details(key: str, whole: Result, metric: Metric) -> Result:
    """Return a result with what is reported beside its value, and no replicate needs: support of classes, certain bounds."""
    if whole.totals is None or not isinstance(whole.value, Mapping):
        return whole
    support = bounds = None
    with contextlib.suppress(Undefined):
        support = _called(key, metric, "class_support", whole.totals)
    if metric.bound_names is not None:
        if missing := set(metric.bound_names) - set(whole.value):
            raise HarnessError(f"metric {key}: bound_names names {', '.join(missing)}, the value has {', '.join(whole.value)}")
        lower, upper = metric.bound_names
        bounds = whole.value[lower], whole.value[upper]
    return replace(whole, support=support, bounds=bounds)


def _called(key: str, metric: Metric, method: str, totals: Totals) -> Any:
    """Compute a value, or its error; what code of the user's own raises is named with its place."""
    try:
        return getattr(metric, method)(totals)
    except (Undefined, HarnessError):
        raise
    except Exception as exc:
        if type(metric).__module__.startswith("harness."):
            raise
        raise HarnessError(f"metric {key}: {type(metric).__name__}.{method} raised {raised(exc)}") from exc


def _too_small(small: int, weight: Fraction) -> str | None:
    """Return why weights are too small for the grid; None where what it takes of them is below the total's last bit.

    Args:
      small: how many are not zero and below 2^-75; of each the grid takes less than 2^-128.
      weight: the total.

    >>> _too_small(3, Fraction(1)) is None
    True
    """
    if abs(weight) >= small * Fraction(EXACT):
        return None
    return (
        f"{small} weights are below {EXACT:.2g}, where sums on a grid of 2^-{GRID_BITS} lose digits: "
        "multiply all weights by a power of two"
    )

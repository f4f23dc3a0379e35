"""Checkpoints in order of their steps: value and band, the best, what is as good, how the choice flatters it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.comparison.bounds import Bounds, bounds_of
from harness.comparison.comparison import level_of
from harness.comparison.ranking import Ranked, rank
from harness.comparison.sides import Number, Side
from harness.errors import UsageError
from harness.metrics.direction import Better

__all__ = ["Curve", "Point", "curves", "optimism", "said_steps", "steps"]

STEP = re.compile(r"step\D?(\d+)", re.IGNORECASE)
WHOLE_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Point:
    """One checkpoint.

    Attributes:
      step: by which the points are ordered.
      side: its name.
      number: None where its run does not have it.
      bounds: its band: the run's own interval where it has one of that level; None where it has no value.
      best_share: in which share of the replicates it is the best; None where that is not known.
      is_alike: whether it cannot be told from the best; None where that was not tested, as of the best itself.
    """

    step: int
    side: str
    number: Number | None
    bounds: Bounds | None
    best_share: float | None = None
    is_alike: bool | None = None


@dataclass(frozen=True)
class Curve:
    """One number of all checkpoints.

    Attributes:
      number, label: which, and what it is called.
      points: in order of their steps.
      best: the place of the best point; None where no way is better, or no point has a value.
      optimism: by how much the best looks better than it is, for it was chosen by the examples that it is judged by; above 0
        whichever way is better. None where replicates do not tell.
      reason: why they do not.
    """

    number: str
    label: str
    better: Better
    points: Sequence[Point]
    best: int | None
    optimism: float | None
    reason: str | None

    @property
    def corrected(self) -> float | None:
        """The value of the best point without its optimism."""
        if self.best is None or self.optimism is None:
            return None
        number = self.points[self.best].number
        assert number is not None and number.value is not None
        return number.value - self.optimism if self.better is Better.HIGHER else number.value + self.optimism


def curves(sides: Sequence[Side], *, metrics: Collection[str] = (), level: float | None = None, pair: bool = True) -> list[Curve]:
    """Return a curve for each number of the whole.

    Args:
      sides: at least two.
      metrics, level, pair: see `comparison.compare`.
    Raises: UsageError: names tell no steps; and see `comparison.compare`.
    """
    order = steps([side.name for side in sides])
    sides = [side for _, side in sorted(zip(order, sides, strict=True), key=lambda pair: pair[0])]
    level = level_of(sides[0], level)
    ranked = rank(sides, metrics=metrics, level=level, pair=pair)
    return [_curve(entry, sides, sorted(order), level) for entry in ranked]


def steps(names: Sequence[str]) -> list[int]:
    """Return the steps of checkpoints by their names: the number behind `step`, else the first that is another in each.

    >>> steps(["ckpt-100", "ckpt-20"]), steps(["epoch1-step10", "epoch1-step20"]), steps(["v1-3.keras", "v1-12.keras"])
    ([100, 20], [10, 20], [3, 12])

    Raises: UsageError: there is no such number.
    """
    rows = _behind_step(names) or [WHOLE_NUMBER.findall(name) for name in names]
    if (numbers := _distinct(rows)) is not None:
        return numbers
    raise UsageError(f"--curve: the names tell no steps: expected a number that is another in each of {', '.join(names)}")


def said_steps(names: Sequence[str]) -> list[int] | None:
    """Return the numbers behind `step`; None where a name has none, or two have the same.

    >>> said_steps(["a-step1000", "a-step200"]), said_steps(["resnet50", "vgg16"])
    ([1000, 200], None)
    """
    return _distinct(_behind_step(names))


def _behind_step(names: Sequence[str]) -> list[list[str]]:
    """Return the numbers behind `step` in each name; nothing where a name has none."""
    rows = [STEP.findall(name) for name in names]
    return rows if all(rows) else []


def _distinct(rows: Sequence[Sequence[str]]) -> list[int] | None:
    """Return the first column of numbers that are all different."""
    for column in zip(*rows, strict=False):
        numbers = [int(text) for text in column]
        if len(set(numbers)) == len(numbers):
            return numbers
    return None


def optimism(values: Sequence[float], replicates: np.ndarray, better: Better) -> tuple[float, list[float]]:
    """Return by how much the best of several looks too good, and in which share of the replicates each is the best.

    Of each replicate the best is chosen as it was of the whole. That it is better there than on the whole is luck, of the
    kind that the choice on the whole had too. The luck of the draws alone is taken off: by how much the best of the whole is
    better there, which is nought on average, and far from it in a few replicates. So it is never below 0, and 0 where all
    replicates choose alike.

    Source: B. Efron, Estimating the error rate of a prediction rule, Journal of the American Statistical Association 78, 1983.

    Args:
      values: of the whole. replicates: float64 [values, replicates], NaN for null.

    >>> optimism([1.0, 2.0], np.array([[3.0, 1.0], [2.0, 2.0]]), Better.HIGHER)
    (1.0, [0.5, 0.5])
    """
    sign = 1.0 if better is Better.HIGHER else -1.0
    drawn = np.where(np.isnan(replicates), -np.inf, sign * replicates)
    whole = sign * np.asarray(values)
    best = int(whole.argmax())
    drawn = drawn[:, np.isfinite(drawn[best])]
    chosen = np.where(drawn[best] == drawn.max(axis=0), best, drawn.argmax(axis=0))  # where several are, that of the whole
    luck = (drawn[chosen, np.arange(drawn.shape[1])] - drawn[best]) - (whole[chosen] - whole[best])
    counts = np.bincount(chosen, minlength=len(values))
    return float(luck.mean()), (counts / drawn.shape[1]).tolist()


def _curve(entry: Ranked, sides: Sequence[Side], order: Sequence[int], level: float) -> Curve:
    better = sides[0].better(entry.number)
    held = {at: number for at, number in enumerate(entry.values) if number is not None and number.value is not None}
    amount, shares, reason = _luck(held, better)
    points = [
        Point(
            step,
            side.name,
            entry.values[at],
            _band(held[at], side, entry.number, level) if at in held else None,
            shares.get(at),
            at in entry.alike if at in entry.tested else None,
        )
        for at, (step, side) in enumerate(zip(order, sides, strict=True))
    ]
    return Curve(entry.number, entry.label, better, points, entry.best, amount, reason)


def _band(number: Number, side: Side, name: str, level: float) -> Bounds:
    """Return the run's own interval of a number, as `harness show` has it; where it has none of that level, bounds."""
    assert number.value is not None
    spec = side.question.bootstrap
    if spec is not None and spec.level == level and number.low is not None:
        return Bounds(number.value, number.low, number.high, number.standard_error)
    return bounds_of(number, (1 - level) / 2, counted=side.counts(name))


def _luck(held: Mapping[int, Number], better: Better) -> tuple[float | None, dict[int, float], str | None]:
    """Return the optimism, the shares of the points that have a value, and why there are none."""
    if better is Better.NEITHER:
        return None, {}, "no way of it is known to be better"
    if len(held) < 2:
        return None, {}, "there are not two values"
    if refusal := next((number.no_difference for number in held.values() if number.no_difference), None):
        return None, {}, refusal
    drawn = [number.replicates for number in held.values()]
    if any(array is None for array in drawn) or len({len(array) for array in drawn if array is not None}) != 1:
        return None, {}, "not all runs have kept as many replicates"
    replicates = np.stack([array for array in drawn if array is not None])
    if np.isnan(replicates).all(axis=1).any():
        return None, {}, "a value is null in every replicate"
    amount, shares = optimism([number.value or 0.0 for number in held.values()], replicates, better)
    return amount, dict(zip(held, shares, strict=True)), None

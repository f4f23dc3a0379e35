"""What a metric can show beside its value: data, not drawing. Part of the contract; see `contract.py`.

A metric returns these from `plots(totals)`, and whoever makes a page draws them. They are compared and drawn by what they
hold, so two metrics that would show the same are shown once.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

__all__ = ["Bars", "Confusion", "Lines", "Plot", "Reliability", "Thresholds", "plain"]


@dataclass(frozen=True)
class Thresholds:
    """Exact counts of a score at thresholds: what ROC, precision, recall, gains and costs are made of.

    Attributes:
      positive, negative: how many there are of either, or their weight.
      points: threshold, and how many positives and negatives are called positive there; by rising threshold.
      rule: which scores are called positive.
    """

    positive: float
    negative: float
    points: tuple[tuple[float, float, float], ...]
    rule: Literal["at least", "above"] = "at least"


@dataclass(frozen=True)
class Reliability:
    """Bins of confidence.

    Attributes:
      bins: of each that is not empty its number, how many are in it, or their weight, their mean confidence (None where it is
        not known), and their share of hits.
    """

    bins: tuple[tuple[int, float, float | None, float], ...]


@dataclass(frozen=True)
class Confusion:
    """How many, or how much weight, of each label are predicted as each class.

    Attributes:
      names: of the classes.
      counts: a row a label, a column a predicted class.
    """

    names: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Bars:
    """A histogram.

    Attributes:
      name: of what is counted.
      bars: where each begins and ends, and how much is in it; an open end is None.
    """

    name: str
    bars: tuple[tuple[float | None, float | None, float], ...]


@dataclass(frozen=True)
class Lines:
    """Curves of one plot.

    Attributes:
      x_name, y_name: of the axes.
      lines: the name of each, with its points.
      level: where a line across stands that they are held against; None for none.
    """

    x_name: str
    y_name: str
    lines: tuple[tuple[str, tuple[tuple[float, float], ...]], ...]
    level: float | None = None


Plot = Thresholds | Reliability | Confusion | Bars | Lines


def plain(count: Fraction) -> int | float:
    """Return a count as a whole number where it is one: weights make fractions of them.

    >>> plain(Fraction(3)), plain(Fraction(1, 2))
    (3, 0.5)
    """
    return count.numerator if count.denominator == 1 else float(count)

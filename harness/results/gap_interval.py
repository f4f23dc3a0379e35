"""The interval of a norm of gaps, such as a calibration error: the sum of absolute values, or the largest. Pure NumPy.

Noise makes absolute values larger: where every gap is 0 in truth, the value is not. A replicate adds the noise a second
time, so its percentiles lie above the value by one to two standard errors, and never reach down to 0. Each signed gap is an
ordinary mean, though, and the bootstrap holds for it: replicate minus value is distributed as value minus truth.

So the interval is found by asking which gaps could have led to the value. Candidates are the gaps that were seen, all moved
towards 0 or away from it by x of their own standard errors, but not past 0. Their norm is in the interval where the value
lies between the quantiles of the norm of candidate plus noise. This inverts a test along one line of candidates (A. C.
Davison, D. V. Hinkley, Bootstrap Methods and their Application, 1997, 5.5); its level is measured, in docs/slices.md, not
proved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.results.intervals import quantile

__all__ = ["GapReplicates", "gap_interval"]

HALVINGS = 50  # of the range of moves


@dataclass(frozen=True)
class GapReplicates:
    """The gaps of a value and of its replicates; NaN for a part without examples.

    Args:
      gaps: float64 [parts].
      replicates: float64 [R, parts], R >= 2.
      largest: whether the value is the largest absolute gap; else it is their sum.
    """

    gaps: np.ndarray
    replicates: np.ndarray
    largest: bool = False

    def norm(self, gaps: np.ndarray) -> np.ndarray:
        """Return the norm over the last axis."""
        size = np.abs(gaps)
        # Not sum(), whose order of adding depends on the shape and the processor.
        norm: np.ndarray = size.max(axis=-1) if self.largest else np.cumsum(size, axis=-1)[..., -1]
        return norm


def gap_interval(drawn: GapReplicates, level: float) -> tuple[float, float]:
    """Return the interval of the norm of the true gaps.

    Args:
      drawn: what was seen, and its replicates.
      level: of the interval.

    >>> noise = np.array([[-0.1], [0.1], [-0.2], [0.2], [0.0]])
    >>> [round(end, 6) for end in gap_interval(GapReplicates(np.array([1.0]), 1.0 + noise), 0.5)]
    [0.85, 1.15]
    >>> gap_interval(GapReplicates(np.array([0.1]), 0.1 + noise), 0.5)[0]
    0.0
    """
    gaps = np.where(np.isfinite(drawn.gaps), drawn.gaps, 0.0)
    # A replicate without examples in a part says nothing of its gap.
    noise = np.where(np.isfinite(drawn.replicates), drawn.replicates - gaps, 0.0)
    family = _Family(drawn, gaps, noise, float(drawn.norm(gaps)))
    low, high = family.norm_at((1 + level) / 2), family.norm_at((1 - level) / 2)
    # 0 for the upper end: noise alone would have given more than was seen, which is no reason to exclude what was.
    return low, high or family.value


@dataclass(frozen=True)
class _Family:
    """The gaps, moved by x of their standard errors."""

    drawn: GapReplicates
    gaps: np.ndarray
    noise: np.ndarray
    value: float

    def moved(self, x: float) -> np.ndarray:
        sign = np.where(self.gaps < 0, -1.0, 1.0)
        moved: np.ndarray = sign * np.maximum(np.abs(self.gaps) + x * self.noise.std(axis=0), 0.0)
        return moved

    def norm_at(self, q: float) -> float:
        """Return the norm of the candidate whose norm with noise has the value for its quantile q; 0 where that is below."""

        def reaches(x: float) -> bool:
            return quantile(np.sort(self.drawn.norm(self.moved(x) + self.noise)), q) >= self.value

        spread = self.noise.std(axis=0)
        farthest = float(np.max(np.abs(self.gaps)[spread > 0] / spread[spread > 0], initial=0.0))
        low, high = -farthest, 1.0
        if reaches(low):
            return float(self.drawn.norm(self.moved(low)))
        while not reaches(high):
            high *= 2
        for _ in range(HALVINGS):
            x = (low + high) / 2
            low, high = (low, x) if reaches(x) else (x, high)
        return float(self.drawn.norm(self.moved(high)))

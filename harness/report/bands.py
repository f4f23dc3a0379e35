"""Bands round a curve, from its replicates. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.results.intervals import DEFINED_SHARE, quantile

__all__ = ["band"]

FEWEST = 20  # replicates


def band(lines: Sequence[np.ndarray], level: float) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the interval at each place of a curve, by the quantiles that intervals have; NaN where too few have a value there.

    Args:
      lines: of each replicate float64 [n], NaN where it has no value.
      level: of the interval at each place; the whole curve lies within less often.
    """
    if len(lines) < FEWEST:
        return None
    ends = np.full((2, len(lines[0])), np.nan)
    for place, values in enumerate(np.stack(lines).T):
        held = np.sort(values[~np.isnan(values)])
        if len(held) >= DEFINED_SHARE * len(lines):
            ends[:, place] = [quantile(held, (1 - level) / 2), quantile(held, (1 + level) / 2)]
    return ends[0], ends[1]

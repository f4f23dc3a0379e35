"""The replicates of slices, as far as they are kept for later comparisons. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.job.specs import BootstrapSpec

__all__ = ["MOST", "SliceReplicates"]

MOST = 1 << 25  # numbers of all metrics together: 256 MiB


class SliceReplicates:
    """Gathers the replicates of slices, as long as they are few enough to be kept."""

    def __init__(self, bootstrap: BootstrapSpec | None) -> None:
        self._replicates = bootstrap.replicates if bootstrap and bootstrap.slice_replicates else 0
        self._held: dict[str, dict[int, np.ndarray]] | None = {}

    def add(self, number: int, values: Mapping[str, np.ndarray]) -> None:
        """Add those of a slice, by metric."""
        if self._held is None or not self._replicates:
            return
        for key, drawn in values.items():
            self._held.setdefault(key, {})[number] = drawn
        if len(self._held) * (number + 1) * self._replicates > MOST:
            self._held = None

    def arrays(self, slices: int) -> dict[str, np.ndarray]:
        """Return them by metric; of a slice whose value is null they are NaN."""
        arrays = {}
        for key, rows in (self._held or {}).items():
            arrays[key] = np.full([slices, self._replicates], np.nan)
            arrays[key][list(rows)] = list(rows.values())
        return arrays

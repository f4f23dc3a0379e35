"""What the machine can do at most, measured by all ranks at the same time once a run is done: `limits.json`.

The model alone, reading alone, the sum alone. `harness bench` reads the file; a run is done without it. What cannot be measured
is said in the file, and fails nothing.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import RunFolderError
from harness.folder.run_folder import write_atomically
from harness.ranks.comm import Comm
from harness.ranks.schedule import Assigned
from harness.run.door import Home
from harness.sums.reduction import Reduced

if TYPE_CHECKING:
    from harness.step.build import Built

__all__ = ["LIMITS_JSON", "SCHEMA_VERSION", "Limits"]

LIMITS_JSON = "limits.json"
SCHEMA_VERSION = 1
SUMS, FEW_SUMS = 15, 5
LARGE = 1 << 22  # numbers of a sum that is measured a few times only


@dataclass(frozen=True)
class Limits:
    """Measures the limits of a run's ranks.

    Attributes:
      comm: of the ranks.
      home: where the run is kept.
    """

    comm: Comm
    home: Home

    def measure(self, built: Built, assigned: Assigned, reduced: Reduced, moved: Callable[[], None]) -> None:
        """Measure, and write limits.json on rank 0. A collective.

        Args:
          built: the step of this rank.
          assigned: what it evaluated.
          reduced: what was summed.
          moved: called at each sign of progress.
        """
        from harness.step.limits import bare_forward, read_alone

        begun = time.monotonic()
        comm, chunks = self.comm, list(assigned.share.chunks)
        forward = self._attempted(lambda: [asdict(rate) for rate in bare_forward(built, built.feed.batch_size, moved)])
        reading = self._attempted(lambda: [asdict(rate) for rate in read_alone(built.feed, chunks, moved)])
        numbers = _summed(reduced)
        sum_s = self._sums(numbers, moved)
        account = {"rank": comm.rank, "host": comm.host, "forward": forward, "reading": reading, "sum_s": sum_s}
        ranks = [json.loads(line) for line in comm.gather(json.dumps(account).encode())]
        if comm.rank == 0:
            document = {
                "schema_version": SCHEMA_VERSION,
                "sum_bytes": 8 * numbers,
                "elapsed_s": round(time.monotonic() - begun, 6),
                "ranks": ranks,
            }
            try:
                write_atomically(self.home.folder.path / LIMITS_JSON, json.dumps(document, indent=1) + "\n")
            except RunFolderError as exc:
                print(f"harness: warning: the result is written, but {exc}", file=sys.stderr)

    def _attempted(self, measured: Callable[[], Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
        """Measure on all ranks at once; where it fails, say why."""
        self.comm.barrier()
        try:
            return {"samples": list(measured()), "reason": None}
        except Exception as exc:  # noqa: BLE001 - the run is done: whatever it is, the other ranks must not wait for this one
            return {"samples": [], "reason": f"{type(exc).__name__}: {' '.join(str(exc).split())[:300]}"}

    def _sums(self, numbers: int, moved: Callable[[], None]) -> list[float]:
        """Return the seconds of sums as large as the run's; the first, which sets things up, is left out."""
        vector, seconds = np.zeros(numbers, np.int64), []
        for _ in range((FEW_SUMS if numbers > LARGE else SUMS) + 1):
            self.comm.barrier()
            start = time.monotonic()
            self.comm.sum(vector)
            seconds.append(round(time.monotonic() - start, 9))
            moved()
        return seconds[1:]


def _summed(reduced: Reduced) -> int:
    """Return how many numbers `reduce` sums at once."""
    return reduced.certificate.table.size + reduced.state.size + len(reduced.canaries) + reduced.grid.flat().size

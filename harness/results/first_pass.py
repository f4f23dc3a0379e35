"""Of many runs the first that its gate let pass: told by the files of their folders alone, whichever of them ended first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.folder.run_folder import RunFolder, read_json

__all__ = ["FirstPass", "first_pass"]

OVER = "failed"  # the state of a run that gets no verdict unless somebody mends it


@dataclass(frozen=True)
class FirstPass:
    """Which run passes first.

    Attributes:
      run: that passes first; None where none does, or it is not known yet.
      awaited: one that comes before it, or any, and has no verdict yet; None where all is known.
    """

    run: Path | None = None
    awaited: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 where a run passes, 1 where none does, 5 where it is not known yet."""
        return 0 if self.run is not None else 1 if self.awaited is None else 5

    def __str__(self) -> str:
        if self.run is not None:
            return f"first to pass its gate: {self.run}"
        if self.awaited is not None:
            return f"which run passes its gate first is not known yet: {self.awaited} has no verdict"
        return "no run passes its gate"


def first_pass(runs: Sequence[Path]) -> FirstPass:
    """Return the first run, in this order, that its gate let pass.

    A run that failed, or cannot be judged, is passed over. One that may still get a verdict is waited for: it could be the first.
    """
    for path in runs:
        folder = RunFolder(path)
        if (passes := _passes(folder)) is None:
            return FirstPass(awaited=path)
        if passes:
            return FirstPass(path)
    return FirstPass()


def _passes(folder: RunFolder) -> bool | None:
    """Say whether a run passes; None where that is not known yet."""
    status = read_json(folder.status_json) or {}
    gate = status.get("gate") or {}
    verdict = (read_json(folder.gate_json) or {}).get("verdict")
    if verdict is not None:
        # What an inconclusive gate is taken for is the job's word.
        return bool(verdict == "PASS" or (verdict == "INCONCLUSIVE" and gate.get("exit_code") == 0))
    if "exit_code" in gate or status.get("state") == OVER:
        return False
    # The batch script's own word of a job that ended before the run folder was its.
    early = read_json(folder.path / "slurm-status.json") or {}
    return False if not status and early.get("exit_code") in (1, 2) else None

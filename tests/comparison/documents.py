"""What comparisons and gates write of runs, and all that they read of one: the same bytes wherever and however it was evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import harness
from harness.comparison import baselines, gate_documents

__all__ = ["compared", "judged", "read_by_comparisons"]


def compared(*runs: Path) -> str:
    """Return compare.json."""
    return harness.compare(*runs).text("json")


def judged(run: Path, rules: Sequence[object], baseline: Path | None = None) -> str:
    """Return gate.json, but for where the runs lie."""
    return gate_documents.to_json(harness.gate(run, rules, baseline).gated, "run", None if baseline is None else "baseline")


def read_by_comparisons(run: Path) -> bytes:
    """Return the run as a baseline: result, question, replicates, those of slices."""
    with TemporaryDirectory() as folder:
        return baselines.save(run, "run", Path(folder)).read_bytes()

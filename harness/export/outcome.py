"""What an export did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Exported"]


@dataclass(frozen=True)
class Exported:
    """What an export did at one target.

    Attributes:
      place: where the runs are now: a folder, a file, a URI.
      added: how many runs it added.
      present: how many were there already.
      remarks: what could not be handed on of them, and why.
    """

    place: str
    added: int
    present: int = 0
    remarks: Sequence[str] = ()

    def __str__(self) -> str:
        runs = f"{self.added} run{'s' * (self.added != 1)} added"
        there = f", {self.present} there already" if self.present else ""
        return f"{runs}{there}: {self.place}"

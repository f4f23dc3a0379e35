"""A beat: what a rank says of itself, as it is sent and as it lies in the run folder."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.folder.run_folder import read_json

__all__ = ["Beat", "read_beat"]

WHERE_SENT = 400  # characters: what fits into one packet gets through more often


@dataclass
class Beat:
    """What a rank says of itself."""

    rank: int
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    phase: str = "starting"  # starting, evaluating, waiting, writing, done, interrupted
    examples: int = 0
    chunks: int = 0
    where: str = ""  # what it works on: chunk and file
    part: str = ""  # what most of its loop's time goes into: compiling, reading or predicting
    moves: int = 0  # goes up with every sign of progress
    asked: str | None = None  # of rank 0: why all ranks are to stop; an empty text where a person asks
    left: bool = False  # of rank 0: all ranks have committed, and may go

    @property
    def busy(self) -> bool:
        """Whether the rank owes progress; one that waits for others does not."""
        return self.phase not in ("waiting", "done", "interrupted")

    @property
    def over(self) -> bool:
        """Whether the rank commits nothing more."""
        return self.phase in ("interrupted", "done")

    def __str__(self) -> str:
        where = f" ({self.where})" if self.where else ""
        return f"rank {self.rank} on {self.host}, pid {self.pid}, {self.phase}{where}"

    def to_json(self) -> str:
        """Return it as it lies in the run folder."""
        return json.dumps(asdict(self))

    def to_notice(self) -> bytes:
        """Return it as it is sent."""
        return replace(self, where=self.where[:WHERE_SENT]).to_json().encode()

    @classmethod
    def from_notice(cls, notice: bytes, rank: int) -> Beat:
        """Read what a rank has sent."""
        return _beat(json.loads(notice), rank)


def read_beat(path: Path, rank: int) -> Beat:
    """Read a rank's file; a rank that has left none yet is starting."""
    return _beat(read_json(path), rank)


def _beat(raw: Any, rank: int) -> Beat:
    try:
        return Beat(**raw)
    except TypeError:
        return Beat(rank, host="?", pid=0)

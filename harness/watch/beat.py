"""A beat: what a rank says of itself, as it is sent and as it lies in the run folder."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from harness.folder.run_folder import read_json

__all__ = ["Beat", "beat_from", "read_beat"]

WHERE_SENT = 400  # characters
NOTICE_BYTES = 1400  # what fits into one packet gets through more often
NOT_TOLD = ("text",)


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
    vitals: dict[str, Any] = field(default_factory=dict)  # how it fares, as `Vitals.to_json` writes it
    text: str = field(default="", repr=False, compare=False)  # that it was read from

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
        names = (item.name for item in fields(self) if item.name not in NOT_TOLD)
        return json.dumps({name: getattr(self, name) for name in names}, separators=(",", ":"))

    def to_notice(self) -> bytes:
        """Return it as it is sent: where it works and how it fares are shortened before it outgrows a packet."""
        sent = replace(self, where=self.where[:WHERE_SENT])
        for shorter in ({}, {"where": self.where[: WHERE_SENT // 4]}, {"where": "", "vitals": {}}):
            sent = replace(sent, **shorter)
            if len(notice := sent.to_json().encode()) <= NOTICE_BYTES:
                break
        return notice

    @classmethod
    def from_notice(cls, notice: bytes, rank: int) -> Beat:
        """Read what a rank has sent."""
        beat = beat_from(json.loads(notice), rank)
        beat.text = notice.decode()
        return beat


def read_beat(path: Path, rank: int) -> Beat:
    """Read a rank's file; a rank that has left none yet is starting."""
    return beat_from(read_json(path), rank)


def beat_from(raw: Any, rank: int) -> Beat:
    """Make a beat of its JSON; of what is none, that of a rank that starts."""
    try:
        return Beat(**raw)
    except TypeError:
        return Beat(rank, host="?", pid=0)

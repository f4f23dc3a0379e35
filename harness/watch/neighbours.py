"""The other ranks of this machine, as processes: whether one of them is gone, when a signal says only that this one is to end.

Launchers end the ranks that are well with SIGTERM when another was killed. That is no person who asks for a stop.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

from harness.folder.attempts import Owner
from harness.ranks.comm import Comm

__all__ = ["Neighbours"]


class Neighbours:
    """The ranks that this one can look for.

    Args:
      processes: by rank.
    """

    def __init__(self, processes: Mapping[int, Owner] | None = None) -> None:
        self._processes = dict(processes or {})

    @classmethod
    def meet(cls, comm: Comm) -> Neighbours:
        """Find the ranks of this machine; one in a container of its own cannot be looked for. A collective: one exchange."""
        here = Owner.this()
        answers = comm.gather(json.dumps(asdict(here)).encode())
        others = {rank: Owner(**json.loads(text)) for rank, text in enumerate(answers) if rank != comm.rank}
        near = (here.host, here.boot, here.space)
        return cls({rank: other for rank, other in others.items() if here.boot and (other.host, other.boot, other.space) == near})

    def gone(self) -> list[int]:
        """Return those whose process has ended."""
        return [rank for rank, process in self._processes.items() if not process.runs]

"""How often ranks ask something of the run folder's file system: so seldom that all of them together ask little of it.

A shared file system answers for opening, naming and looking at files through one or a few servers, whatever the number of
nodes. So what every rank does has a period that grows with the number of ranks, and ranks take turns within it. Together
with what rank 0 does alone it stays under 50 operations a second: rank 0 writes its heartbeat and looks for the request to
stop, four a second, and rank 1 may read that heartbeat, two a second.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BEATS", "COMMITS", "LOOKS", "STOPS", "USAGES", "FileRate", "Turn"]


@dataclass(frozen=True)
class Turn:
    """When a rank does something.

    Attributes:
      first_s: how much later than rank 0 it begins.
      every_s: the time from one to the next.
    """

    first_s: float = 0.0
    every_s: float = 0.0


@dataclass(frozen=True)
class FileRate:
    """What all ranks together may ask.

    Attributes:
      operations: on names of files, that one rank needs to do it once.
      per_second: of all ranks.
    """

    operations: float
    per_second: float

    def turn(self, rank: int, size: int, least_s: float = 0.0) -> Turn:
        """Return when a rank of so many does it.

        Args:
          least_s: the period where ranks are few.

        >>> FileRate(3, 12).turn(0, 2, 1.0)
        Turn(first_s=0.0, every_s=1.0)
        >>> FileRate(3, 12).turn(2048, 4096, 1.0)
        Turn(first_s=512.0, every_s=1024.0)
        """
        every_s = max(least_s, size * self.operations / self.per_second)
        return Turn(every_s * rank / size, every_s)


BEATS = FileRate(operations=4, per_second=12)  # created and renamed; looked at and opened by rank 0
STOPS = FileRate(operations=1, per_second=4)  # looked for
LOOKS = FileRate(operations=2, per_second=8)  # in an elastic run: looked for, and whether a rank has failed
USAGES = FileRate(operations=2, per_second=1)  # of nodes, not ranks: created and renamed
# Looked whether a later attempt has begun, created, renamed, the folder opened; and a sixteenth of joining sixteen segments:
# looking at them, opening them, removing them, writing one.
COMMITS = FileRate(operations=4 + (3 * 16 + 3) / 16, per_second=18)

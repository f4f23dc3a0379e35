"""The horovodrun command line: pure text. Over Gloo, over MPIs other than Open MPI, and for runs whose ranks come and go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness_launch.hosts import Hosts

__all__ = ["ELASTIC_TIMEOUT_S", "Elastic", "Places", "command_line"]

ELASTIC_TIMEOUT_S = 120  # Horovod's own is ten minutes


@dataclass(frozen=True)
class Elastic:
    """Between how many ranks a run may shrink and grow, and what finds the hosts.

    Attributes:
      script: prints the hosts there are, HOST:N a line; called every second.
      least, most: ranks; `most` None is as many as there are places.
      timeout_s: how long to wait for the least number of places, when ranks have gone.
      interface: of the network, where hosts cannot find one that they share by themselves: with a single host.
    """

    script: Path
    least: int = 1
    most: int | None = None
    timeout_s: int = ELASTIC_TIMEOUT_S
    interface: str | None = None

    @property
    def words(self) -> list[str]:
        """What horovodrun is told.

        >>> Elastic(Path("hosts.sh"), 1, 4).words[:4]
        ['--min-np', '1', '--max-np', '4']
        """
        most = ["--max-np", str(self.most)] if self.most else []
        interface = ["--network-interface", self.interface] if self.interface else []
        script = ["--host-discovery-script", str(self.script)]
        return ["--min-np", str(self.least), *most, *script, "--elastic-timeout", str(self.timeout_s), *interface]


Places = Hosts | Elastic | None  # where ranks run: on hosts that are named, on those that a script finds, on this machine


def command_line(
    command: Sequence[str], *, ranks: int, comm: str, horovodrun: str, harness: Sequence[str], places: Places = None
) -> list[str]:
    """Return the argv that starts a harness command on several ranks.

    >>> command_line(["evaluate", "job.yaml"], ranks=2, comm="mpi", horovodrun="horovodrun", harness=["harness"])
    ['horovodrun', '-np', '2', '--mpi', 'harness', 'evaluate', 'job.yaml']
    """
    words = places.words if isinstance(places, Elastic) else ["-H", str(places)] if places else []
    return [horovodrun, "-np", str(ranks), *words, f"--{comm}", *harness, *command]

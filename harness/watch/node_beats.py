"""The beats of a node's ranks, at the first of them: by datagrams that do not leave the machine. No file, nothing in the loop."""

from __future__ import annotations

import contextlib
import json
import secrets

from harness.errors import CommError
from harness.ranks.comm import Comm
from harness.ranks.interfaces import LOOPBACK
from harness.ranks.notices import NoNotices, Notices, UdpServer, call
from harness.watch.beat import Beat

__all__ = ["NodeBeats"]


class NodeBeats:
    """This rank's end.

    Args:
      notices: of the node.
      is_first: whether the others tell this rank; one that they do not reach, in a container of its own say, is the first
        of its own.
    """

    def __init__(self, notices: Notices, *, is_first: bool) -> None:
        self._notices = notices
        self._own: Beat | None = None
        self.is_first = is_first

    @classmethod
    def meet(cls, comm: Comm) -> NodeBeats:
        """Find the ranks of this machine. A collective: two exchanges, whatever happens."""
        hosts = [raw.decode() for raw in comm.gather(comm.host.encode())]
        first = hosts.index(comm.host)
        server, offer = None, {}
        if comm.rank == first and hosts.count(comm.host) > 1:
            key = secrets.token_bytes(32)
            with contextlib.suppress(OSError):  # each rank tells of itself then
                server = UdpServer(key, comm.size, [LOOPBACK])
                offer = {"key": key.hex(), "port": server.port}
        offers = [json.loads(raw) for raw in comm.gather(json.dumps(offer).encode())]
        if comm.rank == first:
            return cls(server or NoNotices(), is_first=True)
        if place := offers[first]:
            with contextlib.suppress(CommError):
                caller = call(bytes.fromhex(place["key"]), comm.rank, [(LOOPBACK, place["port"])])
                return cls(caller, is_first=False)
        return cls(NoNotices(), is_first=True)

    def tell(self, beat: Beat) -> None:
        """Tell the first rank how this one stands."""
        self._own = beat
        if not self.is_first:
            self._notices.publish(beat.to_notice())

    def known(self) -> list[Beat]:
        """Return the newest beat of each rank of the node that was heard, and of this one."""
        beats = [] if self._own is None else [self._own]
        beats += [Beat.from_notice(heard.notice, rank) for rank, heard in self._notices.heard().items()]
        return sorted(beats, key=lambda beat: beat.rank)

    def close(self) -> None:
        """Tell and hear no more."""
        self._notices.close()

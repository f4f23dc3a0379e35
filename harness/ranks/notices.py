"""Notices: rank 0 knows how every rank stands, and every rank how rank 0 does. No file, no collective, nothing in the loop.

A notice is a datagram (UDP), signed with a key that rank 0 made and told the others through the Comm. It is whole in itself
and takes the place of the one before: what gets lost is made good by the next. Rank 0 answers each with a notice of its
own. It holds one socket for all ranks. A thread of each process receives; what a notice says is the caller's.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import selectors
import socket
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import CommError
from harness.ranks.comm import Comm
from harness.ranks.interfaces import LOOPBACK, bind
from harness.ranks.rendezvous import served_by_rank_0

__all__ = ["Heard", "NoNotices", "Notices", "UdpCaller", "UdpServer", "call", "shared_notices"]

HEADER = struct.Struct("<IQ")  # rank, number of the datagram
SIGNATURE_BYTES = hashlib.sha256().digest_size
MOST_BYTES = 65535
WAITS_S = (0.1, 0.2, 0.4, 0.8)  # for the first answer, one after another: the first datagrams of many ranks may get lost
APART_S = 50e-6  # between the first datagrams of two ranks


@dataclass(frozen=True)
class Heard:
    """A notice, and when it came by the monotonic clock of this process."""

    notice: bytes
    time_s: float


class Notices(ABC):
    """What this rank tells of itself, and what it was told. On rank 0 by all others, on the others by rank 0."""

    @abstractmethod
    def publish(self, notice: bytes, *, at_once: bool = False) -> None:
        """Tell how this rank stands.

        Args:
          at_once: rank 0 tells all, and not only who asks.
        """

    @abstractmethod
    def heard(self) -> Mapping[int, Heard]:
        """Return the newest notice of each rank that was heard."""

    @abstractmethod
    def close(self) -> None:
        """Tell and hear no more."""


class NoNotices(Notices):
    """Nothing is told, and nothing heard: a rank is alone, or the network lets no datagrams through."""

    def publish(self, notice: bytes, *, at_once: bool = False) -> None:
        """Do nothing."""

    def heard(self) -> Mapping[int, Heard]:
        """Return nothing."""
        return {}

    def close(self) -> None:
        """Do nothing."""


def shared_notices(comm: Comm) -> tuple[Notices, str]:
    """Return what ranks tell each other with, and why they cannot. A collective; all ranks can, or none."""
    if comm.size == 1:
        return NoNotices(), ""

    def serve(key: bytes, addresses: list[str]) -> tuple[Notices, int]:
        server = UdpServer(key, comm.size, addresses)
        return server, server.port

    notices, problem = served_by_rank_0(comm, serve, lambda key, places: call(key, comm.rank, places))
    return notices or NoNotices(), problem


class _Udp(Notices):
    """Sockets, the thread that receives from them, and the signature."""

    def __init__(self, key: bytes, rank: int, sockets: Sequence[socket.socket]) -> None:
        self._key = key
        self._rank = rank
        self._sockets = sockets
        self._sent = 0
        self._sending = threading.Lock()
        self._numbers: dict[int, int] = {}
        self._heard: dict[int, Heard] = {}
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for waiting in (*sockets, self._woken):
            waiting.setblocking(False)
            self._selector.register(waiting, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._receive, name="notices", daemon=True)
        self._thread.start()

    def heard(self) -> Mapping[int, Heard]:
        """Return the newest notices, as they are at this moment."""
        return dict(self._heard)

    def close(self) -> None:
        """Tell and hear no more."""
        self._wake.close()
        self._thread.join()

    def _signed(self, notice: bytes) -> bytes:
        """Return a datagram. Numbers go up, so that an old one that comes late, or is sent again by somebody, is known."""
        with self._sending:
            self._sent += 1
            content = HEADER.pack(self._rank, self._sent) + notice
        return hmac.digest(self._key, content, "sha256") + content

    def _receive(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    for waiting in (*self._sockets, self._woken):
                        waiting.close()
                    self._selector.close()
                    return
                with contextlib.suppress(OSError):  # nobody listens there any more, or not yet
                    self._take(key.fileobj)  # type: ignore[arg-type]

    def _take(self, receiver: socket.socket) -> None:
        datagram, sender = receiver.recvfrom(MOST_BYTES)
        signature, content = datagram[:SIGNATURE_BYTES], datagram[SIGNATURE_BYTES:]
        if len(content) < HEADER.size or not hmac.compare_digest(signature, hmac.digest(self._key, content, "sha256")):
            return
        rank, number = HEADER.unpack_from(content)
        if not self._is_other_end(rank) or number <= self._numbers.get(rank, 0):
            return
        self._numbers[rank] = number
        if notice := content[HEADER.size :]:
            self._heard[rank] = Heard(notice, time.monotonic())
        self._answer(rank, receiver, sender)

    def _is_other_end(self, rank: int) -> bool:
        """Say whether a rank's notices are for this one."""
        raise NotImplementedError

    def _answer(self, rank: int, receiver: socket.socket, sender: Any) -> None:
        """Answer a datagram that is right."""


class UdpServer(_Udp):
    """Rank 0's end.

    Args:
      key: that all ranks know.
      size: ranks.
      addresses: of this machine, where the others come from.
    Raises: OSError: it cannot listen.
    """

    def __init__(self, key: bytes, size: int, addresses: Sequence[str] = (LOOPBACK,)) -> None:
        self._size = size
        self._notice = b""
        self._callers: dict[int, tuple[socket.socket, Any]] = {}  # by rank: where it was heard, and from where
        sockets, self.port = bind(addresses)
        super().__init__(key, 0, sockets)

    def publish(self, notice: bytes, *, at_once: bool = False) -> None:
        """Answer with this notice from now on."""
        self._notice = notice
        if at_once:
            for receiver, sender in list(self._callers.values()):
                with contextlib.suppress(OSError):
                    receiver.sendto(self._signed(notice), sender)

    def _is_other_end(self, rank: int) -> bool:
        return 0 < rank < self._size

    def _answer(self, rank: int, receiver: socket.socket, sender: Any) -> None:
        self._callers[rank] = receiver, sender
        receiver.sendto(self._signed(self._notice), sender)


class UdpCaller(_Udp):
    """Another rank's end.

    Args:
      key: that all ranks know.
      rank: of this process.
      place: where rank 0 may listen, host and port.
    Raises: OSError: there is no way to it.
    """

    def __init__(self, key: bytes, rank: int, place: tuple[str, int]) -> None:
        self._answered = threading.Event()
        caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            caller.connect(place)
        except OSError:
            caller.close()
            raise
        super().__init__(key, rank, [caller])

    def publish(self, notice: bytes, *, at_once: bool = False) -> None:
        """Tell rank 0."""
        with contextlib.suppress(OSError):  # the next one may get through
            self._sockets[0].send(self._signed(notice))

    def is_answered(self) -> bool:
        """Say whether rank 0 is there; asks a few times, and waits."""
        for wait_s in WAITS_S:
            self.publish(b"")
            if self._answered.wait(wait_s):
                return True
        return False

    def _is_other_end(self, rank: int) -> bool:
        return rank == 0

    def _answer(self, rank: int, receiver: socket.socket, sender: Any) -> None:
        self._answered.set()


def call(key: bytes, rank: int, places: Sequence[tuple[str, int]]) -> UdpCaller:
    """Return the end of a rank that rank 0 answers.

    Args:
      key: that all ranks know.
      rank: of this process.
      places: where rank 0 may listen, the likeliest first.
    Raises: CommError: it answers at none of them.
    """
    time.sleep(rank * APART_S)
    for place in places:
        with contextlib.suppress(OSError):
            caller = UdpCaller(key, rank, place)
            if caller.is_answered():
                return caller
            caller.close()
    where = ", ".join(f"{host}:{port}" for host, port in places)
    raise CommError(f"rank 0 does not answer datagrams (UDP) at {where}")

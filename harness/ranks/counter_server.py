"""The TCP server of the counter: a thread of rank 0 that answers each rank over a connection of its own.

Anybody may connect. So it listens only where ranks come from; connections that have not proved the key are few and have
little time, and one rank has one connection. What is received is numbers of fixed size: nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from harness.ranks import open_files
from harness.ranks.comm import Counter
from harness.ranks.interfaces import LOOPBACK, listen

__all__ = ["ANSWER", "DIGEST_BYTES", "HELLO", "NONCE_BYTES", "REQUEST", "TcpServer", "proof_of"]

PROVE_S = 10.0  # for a caller to prove that it knows the key
UNPROVED = 64  # callers beyond one a rank that have not done so yet
PAUSE_S = 0.2  # without new callers, where there are no files for them
SPARE_FILES = 256
NONCE_BYTES = DIGEST_BYTES = 32
REQUEST = struct.Struct("<QQ")  # number of the request, how many
ANSWER = struct.Struct("<Q")
HELLO = struct.Struct(f"<I{NONCE_BYTES}s{DIGEST_BYTES}s")  # rank, its nonce, its proof


class TcpServer(Counter):
    """The number itself, on rank 0, and the thread that answers the others.

    Args:
      key: that they have to know.
      size: ranks.
      addresses: of this machine, where they come from.
    Raises: OSError: it cannot listen.
    """

    name = "tcp"

    def __init__(self, key: bytes, size: int, addresses: Sequence[str] = (LOOPBACK,)) -> None:
        self._key = key
        self._size = size
        self._value = 0
        self._lock = threading.Lock()
        self._gone: set[int] = set()
        self._answers: dict[int, tuple[int, int]] = {}  # by rank: number of the last request, and its answer
        self._unproved: dict[_Caller, float] = {}  # and until when; the oldest first
        self._proved: dict[int, _Caller] = {}  # by rank
        self._paused_until = 0.0
        files = open_files.allow(size + UNPROVED + SPARE_FILES)
        self._most_unproved = min(size + UNPROVED, max(8, (files - size) // 4))
        self.addresses = list(addresses)
        self._listeners, self.port = listen(self.addresses, min(size + UNPROVED, 4096))
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        for waiting in (*self._listeners, self._woken):
            self._selector.register(waiting, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="counter", daemon=True)
        self._thread.start()

    @property
    def gone(self) -> Collection[int]:
        """Return the ranks whose connections have broken."""
        return frozenset(self._gone)

    def take(self, count: int) -> int:
        """Add to the number."""
        with self._lock:
            before = self._value
            self._value += count
            return before

    def close(self) -> None:
        """Serve no more."""
        self._wake.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            events = self._selector.select(self._patience_s())
            if any(key.fileobj is self._woken for key, _ in events):
                for waiting in list(self._selector.get_map().values()):
                    waiting.fileobj.close()  # type: ignore[union-attr]
                for listener in self._listeners:
                    listener.close()
                self._selector.close()
                return
            for key, _ in events:
                if key.data is None:
                    self._accept(key.fileobj)  # type: ignore[arg-type]
                elif key.data.connection.fileno() >= 0:  # it was not hung up on meanwhile
                    self._answer(key.data)
            self._tidy()

    def _patience_s(self) -> float | None:
        """Return how long to wait for something to happen: until a caller has had its time, or a pause is over."""
        until = [*list(self._unproved.values())[:1], *([self._paused_until] if self._paused_until else [])]
        return max(0.0, min(until) - time.monotonic()) if until else None

    def _tidy(self) -> None:
        """Hang up on callers who had time enough; after a pause, let new ones come."""
        now = time.monotonic()
        while self._unproved and next(iter(self._unproved.values())) <= now:
            self._hang_up(next(iter(self._unproved)))
        if self._paused_until and self._paused_until <= now:
            self._paused_until = 0.0
            for listener in self._listeners:
                self._selector.register(listener, selectors.EVENT_READ)

    def _accept(self, listener: socket.socket) -> None:
        """Take a caller; the one who has proved nothing for longest makes room for it."""
        if self._paused_until:
            return
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            return  # gone again
        except OSError:  # no more files: whoever waits would be announced again at once, and for ever
            self._paused_until = time.monotonic() + PAUSE_S
            for waiting in self._listeners:
                self._selector.unregister(waiting)
            return
        if len(self._unproved) >= self._most_unproved:
            self._hang_up(next(iter(self._unproved)))
        caller = _Caller(connection, secrets.token_bytes(NONCE_BYTES))
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.send(caller.nonce)
        except OSError:
            connection.close()
            return
        self._unproved[caller] = time.monotonic() + PROVE_S
        self._selector.register(connection, selectors.EVENT_READ, caller)

    def _hang_up(self, caller: _Caller) -> None:
        self._unproved.pop(caller, None)
        self._selector.unregister(caller.connection)
        caller.connection.close()
        if caller.rank is not None and self._proved.get(caller.rank) is caller:
            del self._proved[caller.rank]
            self._gone.add(caller.rank)

    def _answer(self, caller: _Caller) -> None:
        try:
            piece = caller.connection.recv(4096)
            if not piece:
                raise ConnectionResetError
            caller.held += piece
            while reply := self._reply(caller):
                caller.connection.send(reply)  # a few bytes: a buffer that cannot hold them belongs to nobody who listens
        except (OSError, ValueError):
            self._hang_up(caller)

    def _admit(self, caller: _Caller, rank: int) -> None:
        """Take a caller for a rank; an earlier connection of the same rank is over, whether that is known yet or not."""
        del self._unproved[caller]
        caller.rank = rank
        earlier = self._proved.get(rank)
        self._proved[rank] = caller
        if earlier is not None:
            self._hang_up(earlier)
        self._gone.discard(rank)

    def _reply(self, caller: _Caller) -> bytes:
        """Return the answer to what a caller has sent; nothing while it is not whole.

        Raises: ValueError: it does not know the key.
        """
        if caller.rank is None:
            if len(caller.held) < HELLO.size:
                return b""
            rank, nonce, proof = HELLO.unpack(caller.take(HELLO.size))
            if not hmac.compare_digest(proof, proof_of(self._key, b"caller", rank, caller.nonce, nonce)):
                raise ValueError("a caller does not know the key")
            if rank >= self._size:
                raise ValueError("a caller knows the key, and is none of the ranks")
            self._admit(caller, rank)
            return proof_of(self._key, b"server", rank, caller.nonce, nonce)
        if len(caller.held) < REQUEST.size:
            return b""
        number, count = REQUEST.unpack(caller.take(REQUEST.size))
        last = self._answers.get(caller.rank)
        if last is None or last[0] != number:
            last = self._answers[caller.rank] = number, self.take(count)
        return ANSWER.pack(last[1])


@dataclass(eq=False)
class _Caller:
    """A connection to the server: what was received of the next message, and whose it is once that is proved."""

    connection: socket.socket
    nonce: bytes
    held: bytearray = field(default_factory=bytearray)
    rank: int | None = None

    def take(self, size: int) -> bytes:
        """Take so many bytes."""
        piece = bytes(self.held[:size])
        del self.held[:size]
        return piece


def proof_of(key: bytes, side: bytes, rank: int, theirs: bytes, mine: bytes) -> bytes:
    """Return what shows that one side knows the key, of two nonces that are used once."""
    return hmac.digest(key, side + rank.to_bytes(8, "little") + theirs + mine, hashlib.sha256)

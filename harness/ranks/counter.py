"""The counter that hands out tickets: of the message layer where it has one, else a small TCP server of rank 0.

Both sides prove that they know a key that rank 0 made and told the others through the Comm; a request that is sent again
after a broken connection gets the same answer.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import threading
import time

from harness.errors import CommError
from harness.ranks.comm import Comm, Counter
from harness.ranks.counter_server import ANSWER, DIGEST_BYTES, HELLO, NONCE_BYTES, REQUEST, TcpServer, proof_of
from harness.ranks.rendezvous import served_by_rank_0

__all__ = ["TcpCounter", "TcpServer", "shared_counter"]

CONNECT_S = 5.0  # for one address
ANSWER_S = 30.0
TRIES = 3


def shared_counter(comm: Comm) -> tuple[Counter | None, str]:
    """Return a counter that all ranks share, beginning at 0, and why there is none. A collective; all ranks get the same."""
    if window := comm.counter():
        return window, ""

    def serve(key: bytes, addresses: list[str]) -> tuple[Counter, int]:
        server = TcpServer(key, comm.size, addresses)
        return server, server.port

    return served_by_rank_0(comm, serve, lambda key, places: TcpCounter(places, key, comm.rank))


class TcpCounter(Counter):
    """The number, as another rank sees it.

    Args:
      addresses: where rank 0 may listen, host and port, the likeliest first.
      key: that both know.
      rank: of this process.
    Raises: CommError: it listens at none of them.
    """

    name = "tcp"

    def __init__(self, addresses: list[tuple[str, int]], key: bytes, rank: int) -> None:
        self._addresses = addresses
        self._key = key
        self._rank = rank
        self._number = 0
        self._lock = threading.Lock()
        self._connection: socket.socket | None = self._connect()

    def take(self, count: int) -> int:
        """Ask rank 0; where the connection is broken, once more over a new one."""
        with self._lock:
            self._number += 1
            why = ""
            for attempt in range(TRIES):
                try:
                    if self._connection is None:
                        time.sleep(0.1 * attempt)
                        self._connection = self._connect()
                    self._connection.sendall(REQUEST.pack(self._number, count))
                    return int(ANSWER.unpack(_receive(self._connection, ANSWER.size))[0])
                except (OSError, CommError) as exc:
                    why = str(exc)
                    self.close()
            raise CommError(f"rank 0, which hands out the chunks, does not answer; it is probably gone: {why}")

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> socket.socket:
        whys = []
        for address in self._addresses:
            try:
                connection = socket.create_connection(address, timeout=CONNECT_S)
                try:
                    return self._prove(connection)
                except BaseException:
                    connection.close()
                    raise
            except OSError as exc:
                whys.append(f"{address[0]}:{address[1]}: {exc.strerror or exc}")
        raise CommError(f"no connection to the counter of rank 0 ({'; '.join(whys)})")

    def _prove(self, connection: socket.socket) -> socket.socket:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs, mine = _receive(connection, NONCE_BYTES), secrets.token_bytes(NONCE_BYTES)
        connection.sendall(HELLO.pack(self._rank, mine, proof_of(self._key, b"caller", self._rank, theirs, mine)))
        if not hmac.compare_digest(_receive(connection, DIGEST_BYTES), proof_of(self._key, b"server", self._rank, theirs, mine)):
            raise ConnectionRefusedError("what listens there is not rank 0")
        connection.settimeout(ANSWER_S)
        return connection


def _receive(connection: socket.socket, size: int) -> bytes:
    """Return so many bytes.

    Raises: OSError: the other side is gone.
    """
    held = b""
    while len(held) < size:
        if not (piece := connection.recv(size - len(held))):
            raise ConnectionResetError("the other side hung up")
        held += piece
    return held

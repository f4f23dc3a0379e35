"""The counter that hands out tickets: of the message layer where it has one, else a small TCP server of rank 0.

The server is a thread that answers each rank over a connection of its own. Both sides prove that they know a key that rank
0 made and told the others through the Comm; a request that is sent again after a broken connection gets the same answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import resource
import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from harness.comm import Comm, Counter
from harness.errors import CommError

__all__ = ["TcpCounter", "TcpServer", "shared_counter"]

CONNECT_S = 5.0  # for one address
ANSWER_S = 30.0
TRIES = 3
SPARE_FILES = 256
NONCE_BYTES = DIGEST_BYTES = 32
REQUEST = struct.Struct("<QQ")  # number of the request, how many
ANSWER = struct.Struct("<Q")
HELLO = struct.Struct(f"<I{NONCE_BYTES}s{DIGEST_BYTES}s")  # rank, its nonce, its proof
SIOCGIFADDR = 0x8915


def shared_counter(comm: Comm) -> tuple[Counter | None, str]:
    """Return a counter that all ranks share, beginning at 0, and why there is none. A collective; all ranks get the same."""
    if counter := comm.counter():
        return counter, ""
    server, key, problem = None, b"", ""
    if comm.rank == 0:
        key = secrets.token_bytes(32)
        try:
            server = TcpServer(key, comm.size)
        except OSError as exc:
            problem = f"rank 0 cannot listen: {exc.strerror}"
    hosts = [raw.decode() for raw in comm.gather(comm.host.encode())]
    told = {"port": server.port, "addresses": _addresses(hosts), "key": key.hex()} if server else {}
    found = json.loads(comm.broadcast(json.dumps(told).encode()))
    made: Counter | None = server
    if found and comm.rank:
        addresses = ["127.0.0.1"] * (hosts[0] == comm.host) + found["addresses"]
        try:
            made = TcpCounter([(address, found["port"]) for address in addresses], bytes.fromhex(found["key"]), comm.rank)
        except CommError as exc:
            problem = f"rank {comm.rank} on {comm.host}: {exc}"
    problems = [raw.decode() for raw in comm.gather(problem.encode()) if raw]
    if not problems:
        return made, ""
    if made is not None:
        made.close()
    return None, problems[0]


class TcpServer(Counter):
    """The number itself, on rank 0, and the thread that answers the others.

    Args:
      key: that they have to know.
      size: ranks.
    Raises: OSError: it cannot listen.
    """

    name = "tcp"

    def __init__(self, key: bytes, size: int) -> None:
        self._key = key
        self._value = 0
        self._lock = threading.Lock()
        self._gone: set[int] = set()
        self._answers: dict[int, tuple[int, int]] = {}  # by rank: number of the last request, and its answer
        _allow_files(size + SPARE_FILES)
        self._listener = socket.create_server(("", 0), backlog=min(size, 4096))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
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
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    for other in list(self._selector.get_map().values()):
                        other.fileobj.close()  # type: ignore[union-attr]
                    self._selector.close()
                    return
                if key.fileobj is self._listener:
                    with contextlib.suppress(OSError):  # gone again, or no more files: it tries anew
                        connection, _ = self._listener.accept()
                        self._greet(connection)
                else:
                    self._answer(key.data)

    def _greet(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        caller = _Caller(connection, secrets.token_bytes(NONCE_BYTES))
        connection.send(caller.nonce)
        self._selector.register(connection, selectors.EVENT_READ, caller)

    def _answer(self, caller: _Caller) -> None:
        try:
            piece = caller.connection.recv(4096)
            if not piece:
                raise ConnectionResetError
            caller.held += piece
            while reply := self._reply(caller):
                caller.connection.send(reply)  # a few bytes: a buffer that cannot hold them belongs to nobody who listens
        except (OSError, ValueError):
            self._selector.unregister(caller.connection)
            caller.connection.close()
            if caller.rank is not None:
                self._gone.add(caller.rank)

    def _reply(self, caller: _Caller) -> bytes:
        """Return the answer to what a caller has sent; nothing while it is not whole.

        Raises: ValueError: it does not know the key.
        """
        if caller.rank is None:
            if len(caller.held) < HELLO.size:
                return b""
            rank, nonce, proof = HELLO.unpack(caller.take(HELLO.size))
            if not hmac.compare_digest(proof, _proof(self._key, b"caller", rank, caller.nonce, nonce)):
                raise ValueError("a caller does not know the key")
            caller.rank = rank
            self._gone.discard(rank)
            return _proof(self._key, b"server", rank, caller.nonce, nonce)
        if len(caller.held) < REQUEST.size:
            return b""
        number, count = REQUEST.unpack(caller.take(REQUEST.size))
        last = self._answers.get(caller.rank)
        if last is None or last[0] != number:
            last = self._answers[caller.rank] = number, self.take(count)
        return ANSWER.pack(last[1])


@dataclass
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
        connection.sendall(HELLO.pack(self._rank, mine, _proof(self._key, b"caller", self._rank, theirs, mine)))
        if not hmac.compare_digest(_receive(connection, DIGEST_BYTES), _proof(self._key, b"server", self._rank, theirs, mine)):
            raise ConnectionRefusedError("what listens there is not rank 0")
        connection.settimeout(ANSWER_S)
        return connection


def _proof(key: bytes, side: bytes, rank: int, theirs: bytes, mine: bytes) -> bytes:
    return hmac.digest(key, side + rank.to_bytes(8, "little") + theirs + mine, hashlib.sha256)


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


def _addresses(hosts: list[str]) -> list[str]:
    """Return where this host can be reached from others: by the interface that the launcher chose, then as routes say."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for interface in filter(None, os.environ.get("HOROVOD_GLOO_IFACE", "").split(",")):
            with contextlib.suppress(OSError):
                raw = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
                found.append(socket.inet_ntoa(raw[20:24]))
    for host in sorted({*hosts[1:]} - {hosts[0]})[:8]:
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((host, 9))  # sends nothing
            found.append(probe.getsockname()[0])
    return list(dict.fromkeys([*found, hosts[0]]))


def _allow_files(wanted: int) -> None:
    """Raise this process's limit of open files, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

"""Connections from outside to the counter of a run that is under way: the run goes on to its end, and nothing of it changes."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import ROOT, start

pytestmark = pytest.mark.ranks

FILES = 256  # that a process may open
LISTENS = "0A"  # in the kernel's table of sockets


class Flood:
    """Opens connections to a counter as soon as there is one, proves nothing and never hangs up."""

    def __init__(self, port_file: Path) -> None:
        self._port_file = port_file
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.connections: list[socket.socket] = []
        self.listens_at: set[str] = set()

    def __enter__(self) -> Flood:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        for connection in self.connections:
            connection.close()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            with contextlib.suppress(OSError, ValueError):
                port = int(self._port_file.read_text())
                self.listens_at |= set(listening_at(port))
                for _ in range(100 if len(self.connections) < 700 else 0):
                    connection = socket.socket()
                    connection.setblocking(False)  # whoever is not accepted yet waits in line
                    connection.connect_ex(("127.0.0.1", port))
                    self.connections.append(connection)
                for connection in self.connections[::2]:  # half of them send something that proves nothing
                    with contextlib.suppress(OSError):
                        connection.send(b"x")


def listening_at(port: int) -> list[str]:
    """Return the addresses of this machine at which something listens at a port."""
    fields = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    places = [entry[1].split(":") for entry in fields if entry[3] == LISTENS]
    return [address for address, number in places if int(number, 16) == port]


def test_a_flood_of_connections_does_not_end_a_run(world, tmp_path):
    """Every process may open few files; who connects and says nothing would have them all."""
    job = world.job(tmp_path / "job.yaml", schedule="dynamic")
    alone = start(["harness", "evaluate", job, "-o", tmp_path / "alone"], ROOT, {"HARNESS_THREADS": "1"})
    assert alone.code == 0, alone.text
    rank = [sys.executable, "-m", "tests.ranks.knocked", str(tmp_path / "port"), "1", "evaluate", str(job)]
    argv = ["prlimit", f"--nofile={FILES}:{FILES}", "horovodrun", "-np", "2", "--gloo", *rank, "-o", str(tmp_path / "run")]
    with Flood(tmp_path / "port") as flood:
        done = start(argv, ROOT, {"HARNESS_THREADS": "1", "HARNESS_STATUS": str(tmp_path / "status.json")})
    status = json.loads((tmp_path / "status.json").read_text()) if (tmp_path / "status.json").exists() else None
    assert done.code == 0, f"{status} {len(flood.connections)} {done.text}"
    assert len(flood.connections) > FILES
    assert (tmp_path / "run" / "metrics.json").read_bytes() == (tmp_path / "alone" / "metrics.json").read_bytes()
    (attempt,) = json.loads((tmp_path / "run" / "run.json").read_text())["attempts"]
    assert attempt["tickets"] == "tcp"
    # All ranks are on this machine: from another one it cannot be reached.
    assert flood.listens_at == {f"{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder):08X}"}

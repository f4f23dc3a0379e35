"""Ranks at the price of one import: a server that loads TensorFlow and forks the ranks of a world over Gloo, or one alone.

The server reads one JSON request a line: {"fork": {main, argv, environs, output}} answers with pids, {"ended": pids} with the
exit codes of those that have ended. `World` is what tests hold: it plays the launcher, which ends all ranks when one fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

GRACE_S = 6.0  # from SIGTERM to SIGKILL, as launchers do


def serve() -> None:
    from tests import preloading

    preloading.load()
    from tests.ranks import counting_worker, slow

    mains = {"slow": slow.main, "counting": counting_worker.main}
    print("ready", flush=True)
    codes: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "fork" in request:
            wanted = request["fork"]
            pids = []
            for environ in wanted["environs"]:
                child = os.fork()
                if not child:
                    os.environ.update(environ)
                    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
                    for descriptor, name in ((0, os.devnull), (1, wanted["output"]), (2, wanted["output"])):
                        os.dup2(os.open(name, flags if descriptor else os.O_RDONLY, 0o644), descriptor)
                    try:
                        mains[wanted["main"]](wanted["argv"])
                    except BaseException:  # noqa: BLE001 - whatever it is, the rank has to say it
                        traceback.print_exc()
                    finally:
                        os._exit(99)  # main ends the process itself
                pids.append(child)
            print(json.dumps(pids), flush=True)
        else:
            for pid in request["ended"]:
                if pid not in codes:
                    found, status = os.waitpid(pid, os.WNOHANG)
                    if found:
                        codes[pid] = os.waitstatus_to_exitcode(status)
            print(json.dumps({pid: codes[pid] for pid in request["ended"] if pid in codes}), flush=True)


class Forks:
    """The server."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ranks.forks"], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def ask(self, request: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def rendezvous(size: int) -> tuple[Any, list[dict[str, str]]]:
    """Start the server where ranks over Gloo meet; return it, and what each rank's environment has to say."""
    from horovod.runner.common.util.hosts import get_host_assignments, parse_hosts
    from horovod.runner.http.http_server import RendezvousServer

    server = RendezvousServer(0)
    port = server.start()
    slots = get_host_assignments(parse_hosts(f"localhost:{size}"), size)
    server.init(slots)
    return server, [
        {
            "HOROVOD_HOSTNAME": "localhost", "HOROVOD_RANK": str(slot.rank), "HOROVOD_SIZE": str(size),
            "HOROVOD_LOCAL_RANK": str(slot.local_rank), "HOROVOD_LOCAL_SIZE": str(slot.local_size),
            "HOROVOD_CROSS_RANK": str(slot.cross_rank), "HOROVOD_CROSS_SIZE": str(slot.cross_size),
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": "127.0.0.1", "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
            "HOROVOD_CONTROLLER": "gloo", "HOROVOD_CPU_OPERATIONS": "gloo", "HOROVOD_GLOO_IFACE": "lo",
        }
        for slot in slots
    ]  # fmt: skip


class World:
    """Some ranks that run `slow.py`'s command, or another of the server's; `more` goes into their environment."""

    def __init__(
        self, forks: Forks, size: int, argv: list[str], output: Path, main: str = "slow", more: dict[str, str] | None = None
    ) -> None:
        self._forks = forks
        self._output = output
        self._rendezvous, environs = rendezvous(size) if size > 1 else (None, [{}])
        for environ in environs:
            environ |= {"HARNESS_THREADS": "1", **(more or {})}
        self.pids: list[int] = forks.ask({"fork": {"main": main, "argv": argv, "environs": environs, "output": str(output)}})

    @property
    def text(self) -> str:
        return self._output.read_text()

    def kill(self, rank: int, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pids[rank], number)

    def codes(self) -> dict[int, int]:
        """Exit codes of the ranks that have ended."""
        found = self._forks.ask({"ended": self.pids})
        return {rank: found[str(pid)] for rank, pid in enumerate(self.pids) if str(pid) in found}

    def wait(self, limit_s: float = 60.0, but: tuple[int, ...] = ()) -> dict[int, int]:
        """Wait for all ranks but some; when one has failed, end the others as a launcher does."""
        begun, told = time.monotonic(), None
        while True:
            codes = self.codes()
            if set(codes) | set(but) >= set(range(len(self.pids))):
                if self._rendezvous is not None and not but:
                    self._rendezvous.stop()
                return codes
            now = time.monotonic()
            if told is None and any(codes.values()):
                told = now
                self._send(signal.SIGTERM, but)
            if now - begun > limit_s or (told is not None and now - told > GRACE_S):
                self._send(signal.SIGKILL, but)
                assert now - begun < limit_s + 5, self.text
            time.sleep(0.02)

    def _send(self, number: int, but: tuple[int, ...]) -> None:
        ended = self.codes()
        for rank in range(len(self.pids)):
            if rank not in ended and rank not in but:
                self.kill(rank, number)


if __name__ == "__main__":
    serve()

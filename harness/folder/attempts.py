"""Attempts of a run: one at a time, numbered, and what is known of the earlier ones.

The lock is a file that is linked into place, so that it holds on network file systems too. One that a dead attempt left
is taken over: on the same machine the process is looked for, on another the heartbeat of rank 0 has to stand still.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import RunFolderError, TakenOver
from harness.folder.run_folder import RunFolder, read_json, write_atomically
from harness.names.scratch import scratch_name

__all__ = ["Attempt", "Lock", "Owner", "begin", "earlier", "retire", "usage_path", "usages"]

LEAVING_S = 5.0  # a process of this machine that is about to end may take so long
STILL_S = 10.0  # heartbeats come every second; network file systems show them late


@dataclass(frozen=True)
class Owner:
    """A process, told apart from all others: also from one that gets its number later."""

    host: str
    boot: str
    space: str  # of process ids: containers have their own
    pid: int
    started: str

    @classmethod
    def this(cls) -> Owner:
        """Return this process."""
        return cls(socket.gethostname(), _text("/proc/sys/kernel/random/boot_id"), _space(), os.getpid(), _started(os.getpid()))

    @property
    def near(self) -> bool:
        """Whether it can be looked for from here."""
        here = Owner.this()
        return bool(self.boot) and (self.host, self.boot, self.space) == (here.host, here.boot, here.space)

    @property
    def runs(self) -> bool:
        """Whether it is still there. Only for one that is near."""
        started = _started(self.pid)
        return bool(started) and started == self.started


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; nothing where it is gone, or dead and not yet buried."""
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if len(fields) > 19 and fields[0] not in "ZX" else ""


class Lock:
    """Keeps a second live attempt away from a run folder.

    Args:
      folder: of the run.
      leaving_s: how long to wait for a process of this machine to end.
      still_s: how long the heartbeat of another machine has to stand still.
      sleep: waits.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        leaving_s: float = LEAVING_S,
        still_s: float = STILL_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._leaving_s = leaving_s
        self._still_s = still_s
        self._sleep = sleep
        self._text = json.dumps(asdict(Owner.this()), sort_keys=True)

    def take(self) -> None:
        """Take the lock, also from an attempt that is dead.

        Raises: RunFolderError: another attempt is alive, or the folder cannot be written.
        """
        while not self._link():
            try:
                text = self._folder.lock.read_text()
            except FileNotFoundError:
                continue  # just given back
            self._await_death(text)
            self._break(text)

    def give_back(self) -> None:
        """Let others in, where the lock is this process's."""
        with contextlib.suppress(OSError):
            if self._folder.lock.read_text() == self._text:
                self._folder.lock.unlink()

    def _link(self) -> bool:
        temporary = scratch_name(self._folder.lock)
        write_atomically(temporary, self._text)
        try:
            os.link(temporary, self._folder.lock)
        except FileExistsError:
            return False
        except OSError as exc:
            raise RunFolderError(f"{self._folder.lock}: cannot be made: {exc.strerror}; choose another folder with -o") from exc
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def _await_death(self, text: str) -> None:
        """Return when the attempt that holds the lock is dead.

        Raises: RunFolderError: it lives.
        """
        try:
            owner = Owner(**json.loads(text))
        except (ValueError, TypeError):
            return  # no process of ours writes half a lock
        alive = RunFolderError(
            f"{self._folder.path}: another attempt is at work here, pid {owner.pid} on {owner.host}; let it end, stop it with "
            f"'touch {self._folder.stop}', or choose another folder with -o"
        )
        near, waited_s = owner.near, 0.0
        beat = self._beat()
        while owner.runs if near else waited_s < self._still_s:
            if waited_s >= self._leaving_s if near else self._beat() != beat:
                raise alive
            self._sleep(0.1)
            waited_s += 0.1

    def _beat(self) -> str:
        try:
            return self._folder.heartbeat(0).read_text()
        except OSError:
            return ""

    def _break(self, text: str) -> None:
        """Take a dead lock away; one that another process has put in its place meanwhile is put back."""
        aside = scratch_name(self._folder.lock)
        with contextlib.suppress(OSError):
            os.rename(self._folder.lock, aside)
            if aside.read_text() != text:
                os.link(aside, self._folder.lock)
            aside.unlink()


@dataclass(frozen=True)
class Attempt:
    """One start of a run.

    Attributes:
      number: from 1.
      kept: names of the segments of earlier attempts that it goes on from: fixed when it starts.
      done: how many chunks they hold.
    """

    number: int
    kept: tuple[str, ...]
    done: int

    def check(self, folder: RunFolder) -> None:
        """See that no later attempt has begun: what this one would write comes too late.

        Raises: TakenOver: one has.
        """
        if _path(folder, self.number + 1).exists():
            raise TakenOver(f"attempt {self.number + 1} has taken over this run; attempt {self.number} ends")


def begin(folder: RunFolder, kept: Sequence[str], done: int, ranks: int) -> Attempt:
    """Number a new attempt and leave a record of it."""
    number = max((int(path.stem) for path in _numbered(folder)), default=0) + 1
    record = {
        "attempt": number, "started": datetime.now(UTC).isoformat(timespec="seconds"), "size": ranks,
        "host": socket.gethostname(), "pid": os.getpid(), "chunks_resumed": done, "journal": list(kept),
    }  # fmt: skip
    write_atomically(_path(folder, number), json.dumps(record, indent=1) + "\n")
    return Attempt(number, tuple(kept), done)


def retire(folder: RunFolder) -> None:
    """Forget what is known of the attempts so far, but that they were: a later one gets a higher number."""
    for path in _numbered(folder):
        write_atomically(path, json.dumps({"erased": True}) + "\n")
    for path in folder.attempts.glob("*.usage-*.json"):
        path.unlink(missing_ok=True)


def earlier(folder: RunFolder) -> list[tuple[int, dict[str, Any]]]:
    """Return number and record of all attempts so far, but those of a run that was erased."""
    records = [(int(path.stem), read_json(path) or {}) for path in _numbered(folder)]
    return sorted(((number, record) for number, record in records if not record.get("erased")), key=lambda pair: pair[0])


def usage_path(folder: RunFolder, attempt: int, rank: int) -> Path:
    """Return where the first rank of a node leaves what its node has used, for the case that the attempt does not end well."""
    return folder.attempts / f"{attempt:04d}.usage-{rank:05d}.json"


def usages(folder: RunFolder, attempt: int) -> list[dict[str, Any]]:
    """Return what the nodes of an attempt have left so."""
    documents = [read_json(path) for path in sorted(folder.attempts.glob(f"{attempt:04d}.usage-*.json"))]
    return [document for document in documents if isinstance(document, dict)]


def _numbered(folder: RunFolder) -> list[Path]:
    return [path for path in folder.attempts.glob("*.json") if re.fullmatch(r"\d+", path.stem)]


def _path(folder: RunFolder, number: int) -> Path:
    return folder.attempts / f"{number:04d}.json"

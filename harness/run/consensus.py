"""What ranks do together before they work alone: meet, find out who failed, see whether they share the run folder."""

from __future__ import annotations

import contextlib
import pickle
import secrets
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import HarnessError, OtherRankFailed, RunFolderError
from harness.folder.run_folder import RunFolder, write_atomically
from harness.ranks.comm import Comm, SingleComm, World
from harness.watch.failure import Ended, Told, say, tell_launcher, trace

__all__ = ["check_shared", "connect", "from_rank_0", "join", "together"]

T = TypeVar("T")
SHARED_FOLDER_WAIT_S = 5.0  # network file systems show a new file to other hosts with a delay


def connect(world: World, *, elastic: bool = False) -> Comm:
    """Join the world that the launcher made; alone without one. An elastic world of one may grow.

    Raises: CommError: that failed.
    """
    if world.size == 1 and not elastic:
        return SingleComm()
    from harness.ranks.horovod_comm import HorovodComm

    return HorovodComm()


def join(*, alone: bool = False) -> Comm:
    """Join the world that a script is in already, or that its launcher made; alone where there is none, or it is asked for."""
    if alone:
        return SingleComm()
    horovod = sys.modules.get("horovod.tensorflow")  # a script that has begun with Horovod has loaded it
    if horovod is not None and horovod.is_initialized():
        return connect(World(horovod.rank(), horovod.size(), horovod.local_rank(), horovod.local_size()))
    return connect(World.from_environment())


def together(comm: Comm, work: Callable[[], T]) -> T:
    """Do something on every rank; where it fails on one, all leave with one clear message.

    Raises: Told: a rank has failed, and has said why; the cause is its failure, on the other ranks OtherRankFailed.
    """
    failure: HarnessError | None = None
    answer: Any = None
    is_said = False
    try:
        answer = work()
    except Told as exc:
        failure, is_said = exc.__cause__, True  # type: ignore[assignment]
    except HarnessError as exc:
        failure = exc
    except Exception as exc:  # noqa: BLE001 - the other ranks wait for this one's word, whatever it is
        traceback.print_exc()
        failure = HarnessError(f"{type(exc).__name__}: {exc}; the lines above say where")
    mine = None if failure is None else Ended.of(failure, comm.rank)
    everyone: list[Ended | None] = [pickle.loads(raw) for raw in comm.gather(pickle.dumps(mine))]
    ended = next((ended for ended in everyone if ended is not None), None)
    if ended is None:
        return answer
    here = ended.rank == comm.rank
    if here:
        if not is_said and failure is not None:
            trace(failure)
            say(comm, ended.message)
        tell_launcher(ended.code)
    # Launchers end all ranks when the first one leaves: nobody does before this is said.
    comm.barrier()
    # The job is wrong for all alike: all end with the code that says so.
    raise Told(ended) from (failure if here else OtherRankFailed(f"rank {ended.rank} failed: {ended.message}"))


def from_rank_0(comm: Comm, work: Callable[[], T]) -> T:
    """Do something on rank 0, and have what it gives on every rank: there it is what describes the thing, opened again.

    Raises: Told: see `together`.
    """
    done = together(comm, lambda: work() if comm.rank == 0 else None)
    if comm.size == 1:
        return done  # type: ignore[return-value]
    # This is pickled by rank 0 of the same job, and read by nobody else.
    data = comm.broadcast(pickle.dumps(done) if comm.rank == 0 else b"")
    opened: Any = together(comm, lambda: done if comm.rank == 0 else pickle.loads(data))
    return opened


def check_shared(folder: RunFolder, comm: Comm) -> None:
    """Make sure that every rank sees rank 0's run folder. A collective; its own: it is not called within `together`.

    Raises: Told: a rank does not, or rank 0 cannot write there.
    """
    token = comm.broadcast(secrets.token_bytes(16) if comm.rank == 0 else b"")
    path = folder.path / ".shared"
    together(comm, lambda: write_atomically(path, token) if comm.rank == 0 else None)
    together(comm, lambda: _await(path, token, f"rank {comm.rank} on {comm.host}"))


def _await(path: Path, token: bytes, rank: str) -> None:
    """Wait until a file holds what was written to it on another host."""
    deadline = time.monotonic() + SHARED_FOLDER_WAIT_S
    while True:
        with contextlib.suppress(OSError):  # not there yet, or a stale handle: looked at again
            if path.read_bytes() == token:
                return
        if time.monotonic() > deadline:
            raise RunFolderError(
                f"{rank} does not see the run folder {path.parent} that rank 0 wrote to; "
                "choose one on a shared file system with -o"
            )
        time.sleep(0.1)

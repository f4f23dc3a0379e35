"""What it costs a run to be watched: processor time of the thread that measures, tells and leaves what it knows in a file.

The harness's own heartbeat runs in a process that does nothing else: as the only rank, and as rank 0 of a thousand, whose
notices come as often as theirs would, signed, through a socket. A rank's threads are there too, asleep, for their delays are
read one by one. `without` is the same without vitals and without the file: what the heartbeat cost before. A thread's clock
counts, and not the wall's.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Cost", "add_arguments", "answer", "measure", "table"]

THREADS = 48  # of a rank: TensorFlow's, Horovod's and the pipeline's
KEY = b"k" * 32


@dataclass(frozen=True)
class Cost:
    """Processor time of the heartbeat and of the notices' thread, by what is asked of them.

    Attributes:
      ranks: of the world.
      watched, without: seconds of a processor in each second, one a round.
      file_bytes: of what rank 0 leaves.
    """

    ranks: int
    watched: tuple[float, ...]
    without: tuple[float, ...]
    file_bytes: int

    @property
    def added(self) -> float:
        """Share of a core that being watched costs, medians."""
        return statistics.median(self.watched) - statistics.median(self.without)

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return asdict(self)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 1000])
    parser.add_argument("--seconds", type=float, default=10.0, help="a round")
    parser.add_argument("--rounds", type=int, default=3)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure.

    Returns: raw values and a table.
    """
    costs = [measure(ranks, options.seconds, options.rounds) for ranks in options.ranks]
    return {"costs": [cost.document() for cost in costs]}, table(costs)


def measure(ranks: int, seconds: float, rounds: int = 1) -> Cost:
    """Let rank 0 of a world beat for so long."""
    watched, without, size = [], [], 0
    with _asleep(THREADS):
        for _ in range(rounds):
            cost, size = _beat(ranks, seconds, watched=True)
            watched.append(cost)
            without.append(_beat(ranks, seconds, watched=False)[0])
    return Cost(ranks, tuple(watched), tuple(without), size)


@contextmanager
def _asleep(count: int) -> Iterator[None]:
    wake = threading.Event()
    threads = [threading.Thread(target=wake.wait, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        wake.set()
        for thread in threads:
            thread.join()


def _beat(ranks: int, seconds: float, *, watched: bool) -> tuple[float, int]:
    """Return processor seconds a second of rank 0's threads, and bytes of the file."""
    from harness.folder.run_folder import RunFolder
    from harness.ranks.notices import NoNotices, UdpServer
    from harness.watch.beat import Beat
    from harness.watch.heartbeat import Heartbeat
    from harness.watch.ranks_file import NAME, Attempted, RanksFile
    from harness.watch.vitals import Vitals, VitalSigns

    class Blind(VitalSigns):
        def measure(self, examples: int = 0) -> Vitals:
            return Vitals()

    with tempfile.TemporaryDirectory(prefix="harness-watching-") as name:
        folder = RunFolder(Path(name))
        folder.progress.mkdir()
        server = UdpServer(KEY, ranks) if ranks > 1 else None
        file = RanksFile(folder, ranks, Attempted(1, 10**9, 10**5, 0, "models/m.keras"))
        heartbeat = Heartbeat(
            folder, 0, ranks, stall_timeout_s=600.0, on_stall=lambda beat, message: True, notices=server or NoNotices(),
            on_beats=file.write_in_turn if watched else lambda beats: None,
        )  # fmt: skip
        heartbeat.signs = VitalSigns(8) if watched else Blind(8)
        vitals = VitalSigns(8).measure(10**6).to_json() if watched else {}
        where = "chunk 1234: data/validation-00007-of-01024.tfrecord, records 16384..20480"
        beat = Beat(0, phase="evaluating", examples=10**6, chunks=1000, where=where, vitals=vitals)
        heartbeat.start()
        stop = threading.Event()
        telling = threading.Thread(target=_tell, args=(server, ranks, beat, stop), daemon=True)
        if server is not None:
            telling.start()
        time.sleep(2.0)  # all have told
        clocks = [_clock_of(thread) for thread in threading.enumerate() if thread.name in ("heartbeat", "notices")]
        before, begun = [clock() for clock in clocks], time.monotonic()
        time.sleep(seconds)
        spent = sum(clock() - earlier for clock, earlier in zip(clocks, before, strict=True))
        elapsed_s = time.monotonic() - begun
        size = (folder.progress / NAME).stat().st_size if watched else 0
        heartbeat.stop()
        stop.set()
        if server is not None:
            telling.join()
            server.close()
    return spent / elapsed_s, size


def _clock_of(thread: threading.Thread) -> Callable[[], float]:
    """Return what reads the processor time of a thread."""
    clock = time.pthread_getcpuclockid(thread.ident or 0)
    return lambda: time.clock_gettime(clock)


def _tell(server: Any, ranks: int, beat: Any, stop: threading.Event) -> None:
    """Send rank 0 what the others would tell it, evenly spread over their period."""
    import hmac
    from dataclasses import replace

    from harness.ranks.notices import HEADER, LOOPBACK
    from harness.watch.roster import notice_period_s

    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setblocking(False)
    number, pause_s = 0, notice_period_s(ranks) / max(ranks - 1, 1)
    batch = max(1, round(0.01 / pause_s))  # as often as a sleep of ten milliseconds is worth it
    rank = 0
    while not stop.wait(batch * pause_s):
        for _ in range(batch):
            rank = rank % (ranks - 1) + 1
            number += 1
            content = HEADER.pack(rank, number) + replace(beat, rank=rank, moves=number).to_notice()
            sender.sendto(hmac.digest(KEY, content, "sha256") + content, (LOOPBACK, server.port))
            try:
                while sender.recv(65536):
                    pass
            except BlockingIOError:
                pass
    sender.close()


def table(costs: list[Cost]) -> str:
    """Write shares of a core as lines of a Markdown table."""
    lines = [
        "rank 0's threads, percent of a core (medians)",
        "",
        "| ranks | watched | without | added | ranks.json, KB |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for cost in costs:
        watched, without = (100 * statistics.median(shares) for shares in (cost.watched, cost.without))
        lines.append(
            f"| {cost.ranks:,} | {watched:.2f} | {without:.2f} | {100 * cost.added:.2f} | {cost.file_bytes / 1000:.1f} |"
        )
    return "\n".join(lines)

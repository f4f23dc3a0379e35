"""The stack of a rank, on demand: a person asks through the run folder, wherever the rank runs, and finds the answer there.

Rank 0 alone looks for the request, once a second, and passes it on in its notices. Where no notices get through, each rank looks
for itself in its turn. Answered by the heartbeat's thread, also while the rank's own hangs in a call.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, RunFolderError
from harness.folder.file_rate import STOPS
from harness.folder.run_folder import RunFolder, read_json
from harness.names.scratch import scratch_name
from harness.ranks.notices import Notices
from harness.watch.beat import Beat

__all__ = ["StackAnswers", "ask_for_stack"]

REQUEST = "stack.json"
LOOK_S = 0.2
WAIT_S = 15.0  # and twice the time between two notices


def _answer_path(folder: RunFolder, rank: int, name: str) -> Path:
    return folder.progress / f"stack-{rank:05d}-{name}.txt"


class StackAnswers:
    """A rank's end.

    Args:
      folder: of the run.
      rank, size: of this process.
      notices: that ranks send each other.
    """

    def __init__(self, folder: RunFolder, rank: int, size: int, notices: Notices) -> None:
        self._folder = folder
        self._rank = rank
        self._notices = notices
        self._every_s = STOPS.turn(rank, size, 1.0).every_s if rank else 0.0
        self._due_s = time.monotonic() + (STOPS.turn(rank, size).first_s if rank else 0.0)
        self._answered = ""

    def serve(self, beat: Beat) -> None:
        """Answer where this rank is asked; on rank 0 have the others hear of it. Called every second.

        Args:
          beat: of this rank.
        """
        request = self._request()
        if self._rank == 0:
            beat.stack = request
        if not _is_request(request) or request["rank"] != self._rank or request["id"] == self._answered:
            return
        self._answered = request["id"]
        path = _answer_path(self._folder, self._rank, request["id"])
        temporary = scratch_name(path)
        with contextlib.suppress(OSError):
            with temporary.open("w") as stream:
                stream.write(f"{beat}\n\n")
                stream.flush()
                faulthandler.dump_traceback(file=stream, all_threads=True)
            os.replace(temporary, path)

    def _request(self) -> Any:
        if self._rank and (heard := self._notices.heard().get(0)):
            return Beat.from_notice(heard.notice, 0).stack
        now = time.monotonic()
        if now < self._due_s:
            return None
        self._due_s = now + self._every_s
        return read_json(self._folder.progress / REQUEST)


def _is_request(request: Any) -> bool:
    """Say whether this is a request; its id becomes a part of a file's name."""
    return isinstance(request, dict) and re.fullmatch("[0-9a-f]{8}", str(request.get("id"))) is not None and "rank" in request


def ask_for_stack(folder: RunFolder, rank: int, period_s: float = 1.0, sleep: Callable[[float], None] = time.sleep) -> str:
    """Ask a rank of a run that is under way for its stacks; return them.

    Args:
      folder: of the run.
      rank: that is asked.
      period_s: between two notices of a rank.
      sleep: waits.
    Raises: RunFolderError: the folder cannot be written. HarnessError: no answer.
    """
    name = secrets.token_hex(4)
    request, answer = folder.progress / REQUEST, _answer_path(folder, rank, name)
    temporary = scratch_name(request)
    try:
        temporary.write_text(json.dumps({"rank": rank, "id": name}))
        os.replace(temporary, request)
    except OSError as exc:
        raise RunFolderError(f"{request}: cannot be written, and so no rank can be asked: {exc.strerror}") from exc
    left_s = WAIT_S + 2 * period_s
    try:
        while left_s > 0:
            if answer.exists():
                return answer.read_text(errors="replace")
            sleep(LOOK_S)
            left_s -= LOOK_S
    finally:
        with contextlib.suppress(OSError):
            if (read_json(request) or {}).get("id") == name:
                request.unlink()
    raise HarnessError(
        f"rank {rank} has not answered for {WAIT_S + 2 * period_s:.0f} s: its process stands still as a whole, or is gone; on "
        "its machine try py-spy dump --pid, or gdb -p"
    )

"""What a launcher of ranks says, and how its end becomes the job's: tags and noise are taken off, a death is noticed. Pure."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field

from harness.errors import HarnessError, Interrupted
from harness.names.status_line import Status

__all__ = ["Ended", "LauncherOutput", "RankKilled", "restore"]

# A launcher puts its tag wherever a chunk of a rank's output begins: also inside a line, or inside a character of UTF-8.
TAG = re.compile(rb"\[(?:\d+,)?\d+\]<std(?:out|err)>:")
RULE = re.compile(rb"-{20,}$")
# What TensorFlow's libraries say before their logging can be set.
LIBRARIES = re.compile(rb"WARNING: All log messages before absl|[IWE]0000 \d")
NOISE = re.compile(
    rb"Terminating remaining workers after|mpirun: Forwarding signal \d+ to job|Process name: |Exit code: "
    rb"|\[\S+:\d+\] (?:\d+ more process(?:es)? ha(?:s|ve) sent help message|Set MCA parameter \"orte_base_help_aggregate\")"
    # What goes wrong with its help texts while it ends ranks.
    rb"|\[\S+:\d+\] \[\[\d+,\d+\],\d+\] ORTE_ERROR_LOG: .* in file \S*show_help\.c"
    rb"|ERROR:root:(?:failure|blacklisted|success) |WARNING:root:host "
    # Of mpirun's event loop, about what it reads from ranks that are ended on a busy machine.
    rb"|\[warn\] Epoll (?:ADD|MOD|DEL)\(\d+\) on fd \d+ failed\."
)
# Blocks of Open MPI, between two rules, that say no more than the rank or `launch` itself has said better.
NOISY_BLOCK = re.compile(
    rb"Primary job\s+terminated normally|MPI_ABORT was invoked|mpirun noticed that process|mpirun has exited due to process"
    rb"|mpirun detected that one or more processes exited"
)
JUDGE_AGAIN = (
    "the result is written; the gate of the job, if it has one, was not judged: start it again with --resume, which evaluates "
    "nothing and judges"
)
MPI_DEATH = re.compile(rb"process rank (\d+) with PID \d+ on node (\S+) exited on signal (\d+)")
GLOO_DEATH = re.compile(rb"Process (\d+) exit with status code (-?\d+)")


class RankKilled(HarnessError):
    """A rank has died, and none could say why: the run has failed, whatever those say that were ended because of it."""


@dataclass
class Ended:
    """How the launcher ended: its exit code, the signals that were passed on to it, the rank that it saw dying first."""

    code: int = 0
    passed: list[int] = field(default_factory=list)
    death: str | None = None
    killed: bool = False  # whether it died of a signal


def restore(ended: Ended, left_code: int | None, *, is_written: bool = False) -> int:
    """Return the job's own exit code: launchers return one of their own.

    >>> restore(Ended(code=1), left_code=2)
    2

    Args:
      left_code: the exit code that the ranks left, None where none of them could.
      is_written: whether the result is there: then ranks were ended while they judged it.
    Raises: Interrupted, RankKilled, HarnessError: there is none, and the launcher did not end well.
    """
    # Ranks that are well are ended by SIGTERM when another was killed: they say that they were interrupted, and mean it.
    if left_code is not None and not (left_code == Interrupted.exit_code and ended.killed and not ended.passed):
        return left_code
    if ended.passed:
        rest = JUDGE_AGAIN if is_written else "no result was written; --resume goes on from what was finished"
        raise Interrupted(f"{signal.Signals(ended.passed[0]).name} was passed on, and all ranks were ended; {rest}")
    if ended.death and is_written:
        raise HarnessError(f"{ended.death}; all ranks were ended; {JUDGE_AGAIN}")
    if ended.death:
        raise RankKilled(
            f"{ended.death}; all ranks were ended, no result was written; --resume goes on from what was finished. "
            "A SIGKILL that nobody sent is the kernel's, for want "
            "of memory: try fewer ranks, or --set batch_size=... with a smaller number"
        )
    if ended.code:
        raise HarnessError(
            f"the launcher of the ranks ended with {ended.code}, and no rank could say why; the lines above are all it said, "
            "'harness doctor' looks for what is missing"
        )
    return 0


class LauncherOutput:
    """Takes a launcher's output apart, line by line: what ranks wrote is shown without its tags, noise is left out.

    Args:
      verbose: show what libraries say.

    `death` is the first rank that the launcher saw dying, in words; `status` what rank 0 said last of how far it is.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self._verbose = verbose
        self.death: str | None = None
        self.killed = False
        self.status: Status | None = None
        self._block: list[bytes] | None = None  # of lines between two rules
        self._traceback: list[bytes] | None = None

    def line(self, line: bytes) -> bytes:
        """Take a line; return what is to be shown now."""
        text, tags = TAG.subn(b"", line)
        if status := Status.of_rank(text):
            self.status = status
            return b""
        if tags:
            return b"" if self._is_noise(text) else text
        self._notice(line)
        if self._block is not None:
            self._block.append(line)
            return self._end_block() if RULE.match(line.rstrip()) else b""
        if RULE.match(line.rstrip()):
            self._block = [line]
            return b""
        if line.startswith(b"Traceback (most recent call last)"):
            self._traceback = [line]
            return b""
        if self._traceback is not None:
            self._traceback.append(line)
            return b"" if line.startswith(b" ") or not line.strip() else self._end_traceback()
        return b"" if self._is_noise(line) or GLOO_DEATH.match(line) or not line.strip() else line

    def rest(self) -> bytes:
        """Return what was held back at the end of the output."""
        return self._end_block() + self._end_traceback()

    def _is_noise(self, line: bytes) -> bool:
        return bool(NOISE.match(line) or (not self._verbose and LIBRARIES.match(line)))

    def _notice(self, line: bytes) -> None:
        if self.death is not None:
            return
        if match := MPI_DEATH.search(line):
            self.killed = True
            self.death = (
                f"rank {int(match[1])} on {match[2].decode(errors='replace')} was killed by {_signal_name(int(match[3]))}"
            )
        elif match := GLOO_DEATH.match(line):
            code = int(match[2])
            number = -code if code < 0 else code - 128
            self.killed = number > 0
            how = f"was killed by {_signal_name(number)}" if number > 0 else f"ended with {code}"
            self.death = f"rank {int(match[1])} {how}"

    def _end_block(self) -> bytes:
        text, self._block = b"".join(self._block or []), None
        return b"" if NOISY_BLOCK.search(text) else text

    def _end_traceback(self) -> bytes:
        """Leave out horovodrun's own traceback about a rank that failed: the rank has said it better."""
        text, self._traceback = b"".join(self._traceback or []), None
        return b"" if b"Horovod detected that one or more processes" in text else text


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"

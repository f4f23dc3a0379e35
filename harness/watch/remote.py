"""Runs on another machine: the same command runs there, over ssh, and its JSON lines come here."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.watch.run_view import from_document
from harness.watch.watching import Shown, ShownRun

__all__ = ["OtherShown", "SshTarget", "command_line", "print_remote_stack"]

ANSWER_S = 120
SSH_FAILED = 255


@dataclass(frozen=True)
class OtherShown:
    """What is no run: a job in a queue. Its text came along."""

    line: dict[str, Any]

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.exit_code is not None

    @property
    def exit_code(self) -> int | None:
        """As the contract has it."""
        code = self.line.get("exit_code")
        return code if isinstance(code, int) else None

    def document(self) -> dict[str, Any]:
        """Return it as it came."""
        return self.line

    def lines(self, width: int, height: int) -> list[str]:
        """Return it as text."""
        return [str(line)[:width] for line in self.line.get("text", [])][:height]

    def summary(self) -> None:
        """Print nothing."""


def command_line(host: str, harness: str, names: Sequence[str]) -> list[str]:
    """Return what asks another machine; its shell gets every name quoted.

    >>> command_line("login", "env/bin/harness", ["runs/a b"])
    ['ssh', '-o', 'BatchMode=yes', '--', 'login', "env/bin/harness watch --once --json -- 'runs/a b'"]
    """
    return ["ssh", "-o", "BatchMode=yes", "--", host, f"{harness} watch --once --json -- {shlex.join(names)}"]


@dataclass(frozen=True)
class SshTarget:
    """Runs on another machine.

    Attributes:
      host: as ssh knows it.
      names: of run folders and jobs there.
      harness: how the command is called there; goes to the shell as it is.
    """

    host: str
    names: Sequence[str]
    harness: str = "harness"

    def look(self) -> Sequence[Shown]:
        """Ask there.

        Raises: UsageError: the command is wrong there. HarnessError: there is no answer.
        """
        argv = command_line(self.host, self.harness, self.names)
        try:
            done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False, timeout=ANSWER_S)
        except FileNotFoundError as exc:
            raise UsageError("--ssh: there is no ssh on this machine") from exc
        except subprocess.TimeoutExpired as exc:
            raise HarnessError(f"--ssh {self.host}: no answer for {ANSWER_S} s") from exc
        message = " ".join(done.stderr.split()).removeprefix("harness: error: ")
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if not lines:
            kind = UsageError if done.returncode in (2, SSH_FAILED, 127) else HarnessError
            hint = "; --ssh-harness says how the harness is called there" if done.returncode == 127 else ""
            raise kind(f"--ssh {self.host}: {message or f'no answer, exit code {done.returncode}'}{hint}")
        try:
            return [_shown(json.loads(line)) for line in lines]
        except (KeyError, TypeError, ValueError) as exc:
            raise HarnessError(f"--ssh {self.host}: its harness answers in another way; is it another version?") from exc


def print_remote_stack(host: str, harness: str, name: str, rank: int) -> int:
    """Have another machine ask a rank for its stacks, and print them; return the exit code there."""
    words = f"{harness} watch --stack {rank} -- {shlex.quote(name)}"
    return subprocess.run(["ssh", "-o", "BatchMode=yes", "--", host, words], check=False).returncode


def _shown(document: dict[str, Any]) -> Shown:
    return ShownRun(from_document(document)) if "run" in document else OtherShown(document)

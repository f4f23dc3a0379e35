"""Runs a launcher of ranks: its output is relayed, signals are passed on, and nothing of it is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import IO, Any

from harness.names.status_line import StatusLine
from harness.names.verbosity import is_verbose
from harness_launch.launcher_output import Ended, LauncherOutput

__all__ = ["Signalled", "run_launcher"]

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
LOOK_S = 0.05
AGAIN_S = 1.0  # a signal that comes before there are ranks is lost: it is sent anew
PATIENCE_S = 6.0  # from a signal until ranks that do not leave are ended by the launcher
RELAY_S = 10.0


class Signalled(Enum):
    """How ranks are asked to leave through their launcher.

    GROUP: SIGTERM (or SIGINT) to the launcher and all that it has started here, as a terminal does it. `horovodrun` dies of
    SIGUSR1, its ranks with it.
    FORWARDED: SIGUSR1 to the launcher, which hands it on to all ranks, on all hosts, and waits for them. After SIGTERM Open
    MPI's `mpirun` waits a second, ends its ranks with SIGTERM, and a second later with SIGKILL.
    """

    GROUP = "group"
    FORWARDED = "forwarded"


def run_launcher(argv: Sequence[str], env: Mapping[str, str], signalled: Signalled, line: StatusLine) -> Ended:
    """Start a launcher, pass signals on to it, relay its output; return how it ended.

    Args:
      line: where it is shown what rank 0 does.
    """
    ended = Ended()
    running: list[_Launcher] = []

    def pass_on(number: int, _frame: Any) -> None:
        ended.passed.append(number)
        for launcher in running:
            launcher.pass_on(number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        launcher = _Launcher(argv, env, signalled, line)
        running.append(launcher)
        for number in ended.passed[:1]:  # it came while the launcher was being started
            launcher.pass_on(number)
        ended.code = launcher.wait()
        ended.death, ended.killed = launcher.death()
        return ended
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Launcher:
    """The process of a launcher, and the threads that relay its output."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], signalled: Signalled, line: StatusLine) -> None:
        self._signalled = signalled
        self._asked_at: float | None = None  # when ranks were asked to leave
        self._next = float("inf")  # when they are asked again
        # A group of its own, so that a Ctrl-C reaches it once, through us.
        self._process = subprocess.Popen(
            argv, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        self._outputs = [LauncherOutput(verbose=is_verbose(env)) for _ in range(2)]
        pairs = ((self._process.stdout, sys.stdout.buffer), (self._process.stderr, sys.stderr.buffer))
        self._relays = [
            threading.Thread(target=_relay, args=(*pair, output, line), daemon=True)
            for pair, output in zip(pairs, self._outputs, strict=True)
        ]
        for relay in self._relays:
            relay.start()

    def pass_on(self, number: int) -> None:
        """Pass a signal on; one that comes again after a while is meant."""
        if self._signalled is Signalled.GROUP:
            # The whole group: horovodrun may have a shell between itself and mpirun.
            self._send(os.killpg, signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
            return
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at, self._next = now, now + AGAIN_S
            self._send(os.kill, signal.SIGUSR1)
        elif now - self._asked_at >= AGAIN_S:
            self._next = float("inf")
            self._send(os.kill, signal.SIGTERM)

    def wait(self) -> int:
        """Wait for its end, and for the end of what it says; return its exit code."""
        while True:
            try:
                code = self._process.wait(LOOK_S)
                break
            except subprocess.TimeoutExpired:
                self._ask_again()
        for relay in self._relays:
            relay.join(timeout=RELAY_S)
        return code

    def death(self) -> tuple[str | None, bool]:
        """Return the first rank that it saw dying, in words, and whether that was by a signal."""
        return next(((output.death, output.killed) for output in self._outputs if output.death), (None, False))

    def _ask_again(self) -> None:
        now = time.monotonic()
        if self._asked_at is None or now < self._next:
            return
        patient = now - self._asked_at < PATIENCE_S
        self._next = now + AGAIN_S if patient else float("inf")
        self._send(os.kill, signal.SIGUSR1 if patient else signal.SIGTERM)

    def _send(self, how: Any, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._process.returncode is None:
                how(self._process.pid, number)


def _relay(stream: IO[bytes], out: IO[bytes], output: LauncherOutput, status_line: StatusLine) -> None:
    """Copy what is to be shown of a launcher's output; where nobody reads any longer, read on: the launcher must not wait."""
    heard = True

    def show(text: bytes) -> None:
        nonlocal heard
        try:
            if heard and text:
                status_line.erase()
                out.write(text)
                out.flush()
        except OSError:
            heard = False

    status = None
    for line in stream:
        show(output.line(line))
        if output.status is not None and output.status is not status:
            status = output.status
            status_line.show(status)
    show(output.rest())

"""Start ranks on this machine through horovodrun: the command line as pure text, run in one place.

Knows the job and the errors of the harness; loads no TensorFlow, Horovod or mpi4py.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from harness.errors import HarnessError, UsageError

__all__ = ["auto_ranks", "built_with", "command_line", "environment", "launch"]

MOST_AUTO_RANKS = 8  # a CPU evaluation gains little past that, and every rank holds the model
TAG = re.compile(rb"^\[(?:\d+,)?\d+\]<std(?:out|err)>:")
NOISE = re.compile(
    rb"^(?:-{20,}|WARNING: All log messages before absl|[IWE]0000 .*|(?:Process \d+ exit|.*Primary job\s+terminated normally).*)$"
)


def auto_ranks(gpus: int, cores: int) -> int:
    """Choose how many ranks: one per GPU, else one per physical core up to a sensible number.

    >>> auto_ranks(4, 64), auto_ranks(0, 2), auto_ranks(0, 64)
    (4, 2, 8)
    """
    return gpus or max(1, min(cores, MOST_AUTO_RANKS))


def environment(base: Mapping[str, str], ranks: int, cores: int, status: str | None) -> dict[str, str]:
    """Return the environment of the ranks: what the user has set stays.

    >>> env = environment({"OMP_NUM_THREADS": "3"}, 2, 8, None)
    >>> env["OMP_NUM_THREADS"], env["HARNESS_THREADS"], env["HOROVOD_STALL_CHECK_DISABLE"]
    ('3', '4', '1')
    """
    threads = str(max(1, cores // ranks))
    wanted = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "HARNESS_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        # A rank that is done waits for the others; that is no stall.
        "HOROVOD_STALL_CHECK_DISABLE": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if ranks > cores:
        wanted["OMPI_MCA_mpi_yield_when_idle"] = "1"
    if status:
        wanted["HARNESS_STATUS"] = status
    return {**wanted, **base} if not status else {**wanted, **base, "HARNESS_STATUS": status}


def command_line(command: Sequence[str], *, ranks: int, comm: str, horovodrun: str, harness: Sequence[str]) -> list[str]:
    """Return the argv that starts a harness command on several ranks.

    >>> command_line(["evaluate", "job.yaml"], ranks=2, comm="mpi", horovodrun="horovodrun", harness=["harness"])
    ['horovodrun', '-np', '2', '--mpi', 'harness', 'evaluate', 'job.yaml']
    """
    return [horovodrun, "-np", str(ranks), f"--{comm}", *harness, *command]


def launch(command: list[str], *, ranks: str, comm: str | None, dry_run: bool) -> int:
    """Run a harness command on several ranks; return the exit code of the job itself.

    Raises: UsageError: something is missing, or a number is wrong.
    """
    command = command[1:] if command[:1] == ["--"] else command
    if command[:1] != ["evaluate"]:
        raise UsageError(f"launch starts 'evaluate JOB.yaml', found {' '.join(command) or 'nothing'}")
    cores = len(os.sched_getaffinity(0))
    count = auto_ranks(count_gpus(), physical_cores(cores)) if ranks == "auto" else _number(ranks)
    here = Path(sys.executable).parent
    horovodrun = shutil.which("horovodrun", path=f"{here}:{os.environ.get('PATH', '')}")
    if horovodrun is None:
        raise UsageError("horovodrun is not installed; launch/install builds Horovod, 'harness doctor' says what is missing")
    chosen = comm or ("mpi" if built_with("mpi") else "gloo")
    argv = command_line(command, ranks=count, comm=chosen, horovodrun=horovodrun, harness=[_harness()])
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        status = Path(scratch) / "status.json"
        env = environment(os.environ, count, cores, str(status))
        env["PATH"] = f"{here}:{env.get('PATH', '')}"
        if dry_run:
            shown = environment({}, count, cores, None)
            print(" ".join([*(f"{k}={v}" for k, v in sorted(shown.items())), shlex.join(argv)]))
            return 0
        _check_job(command)
        print(f"+ {shlex.join(argv)}", file=sys.stderr, flush=True)
        code = _run(argv, env)
        return _restore(code, status)


def _check_job(command: Sequence[str]) -> None:
    """Validate the job before ranks are started; only they see the options that follow."""
    from harness.job import Job

    words = list(command[1:])
    overrides = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "--set"]
    jobs = [word for i, word in enumerate(words) if not word.startswith("-") and (not i or not words[i - 1].startswith("-"))]
    if jobs:
        Job.load(jobs[0], overrides)


def _run(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Start the launcher, pass signals on to it, relay its output without the tags it puts before each line."""
    # A group of its own, so that a Ctrl-C reaches it once, through us.
    process = subprocess.Popen(
        argv,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, lambda got, _frame: process.send_signal(got))
    try:
        relays = [
            threading.Thread(target=_relay, args=(stream, out), daemon=True)
            for stream, out in ((process.stdout, sys.stdout.buffer), (process.stderr, sys.stderr.buffer))
        ]
        for relay in relays:
            relay.start()
        code = process.wait()
        for relay in relays:
            relay.join(timeout=10)
        return code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _relay(stream: IO[bytes] | None, out: IO[bytes]) -> None:
    """Copy lines without their tags; leave out what the launcher says about processes it has ended."""
    assert stream is not None
    traceback = False
    for line in stream:
        text = TAG.sub(b"", line)
        tagged = text != line
        if not tagged and line.startswith(b"Traceback (most recent call last)"):
            traceback = True  # horovodrun's own, about a rank that failed; the rank has said it better
        if traceback and not tagged:
            traceback = line.startswith((b"Traceback", b" ")) or not line.strip()
            continue
        if NOISE.match(text.rstrip()):
            continue
        out.write(text)
        out.flush()


def _restore(code: int, status: Path) -> int:
    """Return the job's own exit code: launchers return one of their own."""
    try:
        said: Any = json.loads(status.read_text())["exit_code"]
        return int(said)
    except (OSError, ValueError, KeyError, TypeError):
        if code:
            raise HarnessError(
                f"the ranks ended with {code} and none of them could say why: one was killed (the lines above name it), "
                "perhaps for want of memory"
            ) from None
        return 0


def built_with(what: str) -> bool:
    """Tell whether Horovod was built with "mpi" or "gloo", by its own word, without loading it here."""
    code = f"import horovod.common.util as u; import horovod.tensorflow as h; raise SystemExit(not h.{what}_built())"
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False).returncode == 0


def count_gpus() -> int:
    """Count the GPUs this process may use, without loading TensorFlow."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() and part.strip() != "-1"])
    return len(glob.glob("/dev/nvidia[0-9]*"))


def physical_cores(allowed: int) -> int:
    """Count physical cores, at most as many as this process may use."""
    try:
        siblings = {Path(p).read_text() for p in glob.glob("/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list")}
    except OSError:
        siblings = set()
    return min(len(siblings) or allowed, allowed)


def _harness() -> str:
    return str(Path(sys.executable).parent / "harness")


def _number(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise UsageError(f"-np {text}: expected a number of ranks, or auto")
    return int(text)

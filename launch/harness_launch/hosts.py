"""Hosts and how many ranks each takes: from `-H`, from a hostfile, from Slurm. Pure text; asks Slurm in one place."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

__all__ = ["Hosts", "allocated", "from_file", "parse", "tasks_by_node"]

# What Slurm tells a batch script of its allocation.
NODES, TASKS = "SLURM_JOB_NODELIST", "SLURM_TASKS_PER_NODE"
NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"  # of a host, or its IPv4 address


@dataclass(frozen=True)
class Hosts:
    """Hosts in their order, and the ranks that each takes."""

    slots: tuple[tuple[str, int], ...]

    @property
    def ranks(self) -> int:
        """How many ranks they take together."""
        return sum(count for _, count in self.slots)

    @property
    def most(self) -> int:
        """How many the fullest of them takes."""
        return max(count for _, count in self.slots)

    def __str__(self) -> str:
        return ",".join(f"{name}:{count}" for name, count in self.slots)


def parse(text: str) -> Hosts:
    """Return the hosts of `-H`.

    >>> str(parse("n1:4,n2")), parse("n1:4,n2").ranks
    ('n1:4,n2:1', 5)

    Raises: UsageError: it is no such list.
    """
    return _hosts((_host(part, f"-H {text}") for part in text.split(",")), f"-H {text}")


def from_file(path: Path) -> Hosts:
    """Return the hosts of a file: a line each, `n1 slots=4` as Open MPI has it, or `n1:4`, or `n1`; # begins a comment.

    Raises: UsageError: the file cannot be read, or has a line of another form.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"--hostfile {path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from exc
    slots = []
    for number, line in enumerate(lines, 1):
        if bare := line.partition("#")[0].strip():
            slots.append(_host(re.sub(r"\s+slots\s*=\s*", ":", bare), f"{path}, line {number}"))
    return _hosts(slots, f"--hostfile {path}")


def allocated(environ: Mapping[str, str]) -> Hosts:
    """Return the nodes of the Slurm job that this process runs in, with its tasks.

    Raises: UsageError: there is no such job.
    """
    if not environ.get(NODES):
        raise UsageError(f"-H slurm: {NODES} is not set: this is no Slurm job; sbatch or salloc make one")
    try:
        done = subprocess.run(
            ["scontrol", "show", "hostnames", environ[NODES]], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise UsageError(f"-H slurm: scontrol cannot say the names of {environ[NODES]}: {exc}") from exc
    names = done.stdout.split()
    counts = tasks_by_node(environ.get(TASKS) or f"1(x{len(names)})")
    if len(names) != len(counts):
        raise UsageError(
            f"-H slurm: {environ[NODES]} are {len(names)} nodes, {TASKS}={environ.get(TASKS)} tells of {len(counts)}"
        )
    return _hosts(zip(names, counts, strict=True), "-H slurm")


def tasks_by_node(text: str) -> list[int]:
    """Return how many tasks each node has, from the form in which Slurm says it.

    >>> tasks_by_node("2(x3),1")
    [2, 2, 2, 1]

    Raises: UsageError: it is of another form.
    """
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not match:
            raise UsageError(f"{TASKS}={text}: expected a list like 2(x3),1")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def _host(text: str, where: str) -> tuple[str, int]:
    match = re.fullmatch(rf"({NAME})(?::([1-9]\d*))?", text)
    if not match:
        raise UsageError(f"{where}: expected HOST:RANKS,... with at least one rank each, found '{text}'")
    return match[1], int(match[2] or 1)


def _hosts(pairs: Iterable[tuple[str, int]], where: str) -> Hosts:
    slots: Sequence[tuple[str, int]] = tuple(pairs)
    names = [name for name, _ in slots]
    if not slots:
        raise UsageError(f"{where}: names no host")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"{where}: {', '.join(twice)} stands there twice; say each host once, with all its ranks")
    return Hosts(tuple(slots))

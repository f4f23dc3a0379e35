"""What of a machine will do for the harness, what would go wrong, and what to do about it. Judges facts; gathers none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from rich.console import Console
from rich.text import Text

from harness.results.terminal import console_for
from harness.run.machine_facts import Facts, gather

__all__ = ["GIB", "Finding", "Level", "doctor", "judge"]

GIB = 1 << 30
LEAST_MEMORY_PER_RANK = 1 * GIB  # TensorFlow alone takes about half of that
LEAST_DISK = 1 * GIB


class Level(Enum):
    """How a finding is to be taken; the value is its colour."""

    GOOD = "green"
    DOUBTFUL = "yellow"
    BAD = "red"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do where that is not good."""

    level: Level
    subject: str
    found: str
    advice: str = ""


def doctor(gpu_devices: int, console: Console | None = None) -> int:
    """Print what was found; return 0 where ranks can be started, 1 where only the single-process harness works.

    Args:
      gpu_devices: GPUs that the machine shows, whatever TensorFlow makes of them.
      console: where to print.
    """
    console = console or console_for(1)
    facts = gather(gpu_devices)
    findings = judge(facts)
    width = max(len(finding.subject) for finding in findings)
    words = {Level.GOOD: "ok  ", Level.DOUBTFUL: "note", Level.BAD: "bad "}
    for finding in findings:
        word = (words[finding.level], finding.level.value)
        console.print(Text.assemble(word, f"  {finding.subject:{width}}  {finding.found}"), soft_wrap=True)
        if finding.advice:
            console.print(Text(f"      {'':{width}}  -> {finding.advice}"), soft_wrap=True)
    works = all(finding.level is not Level.BAD for finding in findings)
    if works and facts.ranks:
        end = ("ranks can be started: ", "green"), "harness launch -- evaluate JOB.yaml"
    elif facts.versions["tensorflow"] is None:
        end = ("nothing can be evaluated: ", "red"), "TensorFlow is missing"
    else:
        end = ("only one process: ", "yellow"), "harness evaluate JOB.yaml works by itself, several ranks cannot be started"
    console.print(Text.assemble(*end), soft_wrap=True)
    return 0 if works and facts.ranks else 1


def judge(facts: Facts) -> list[Finding]:
    """Say of each thing whether it will do, and what to do where not."""
    parts: tuple[Callable[[Facts], list[Finding]], ...] = (_python, _packages, _horovod, _mpi, _hardware, _settings)
    return [finding for part in parts for finding in part(facts)]


def _python(facts: Facts) -> list[Finding]:
    version = ".".join(str(part) for part in facts.python)
    if (3, 11) <= facts.python[:2] <= (3, 13):
        return [Finding(Level.GOOD, "Python", version)]
    return [Finding(Level.BAD, "Python", version, "3.11 to 3.13 is needed: PYTHON=/path/to/python3.12 launch/install")]


def _packages(facts: Facts) -> list[Finding]:
    findings = []
    for name, title in (("tensorflow", "TensorFlow"), ("keras", "Keras"), ("numpy", "NumPy")):
        version, pinned = facts.versions.get(name), facts.pins.get(name)
        if version is None:
            findings.append(Finding(Level.BAD, title, "not installed", "pip install . in the harness's checkout brings it"))
        elif pinned and version != pinned:
            advice = f"the harness is tested with {pinned}; results may differ in their last digits"
            findings.append(Finding(Level.DOUBTFUL, title, version, advice))
        else:
            findings.append(Finding(Level.GOOD, title, version))
    return findings


def _horovod(facts: Facts) -> list[Finding]:
    version, probe = facts.versions.get("horovod"), facts.probe
    if version is None:
        advice = "launch/install in the harness's checkout builds it in two minutes: it needs a C++ compiler, no root"
        return [Finding(Level.BAD, "Horovod", "not installed", advice)]
    if probe.error:
        advice = "it was built for another TensorFlow or MPI; build it again: remove ~/.cache/harness and run launch/install"
        return [Finding(Level.BAD, "Horovod", f"{version}, cannot be loaded: {probe.error}", advice)]
    built = [name for name, has in (("MPI", probe.mpi), ("Gloo", probe.gloo), ("NCCL", probe.nccl)) if has]
    lacking = [name for name, has in (("MPI", probe.mpi), ("Gloo", probe.gloo), ("NCCL", probe.nccl)) if not has]
    build = f"{version}, built with {', '.join(built) or 'nothing'}" + (f"; without {', '.join(lacking)}" if lacking else "")
    findings = []
    if not probe.mpi and not probe.gloo:
        advice = "it cannot start ranks; build it again with launch/install"
        findings.append(Finding(Level.BAD, "Horovod", build, advice))
    elif not probe.mpi:
        advice = "ranks talk over Gloo only; MPI=packaged or MPI=system launch/install builds it with MPI"
        findings.append(Finding(Level.DOUBTFUL, "Horovod", build, advice))
    else:
        findings.append(Finding(Level.GOOD, "Horovod", build))
    if facts.horovodrun is None:
        findings.append(Finding(Level.BAD, "horovodrun", "not on PATH", "activate the environment that Horovod is installed in"))
    if facts.python[:2] >= (3, 12) and facts.versions.get("setuptools") is None:
        advice = "Horovod's launcher imports distutils, which Python 3.12 left out: pip install 'setuptools<82'"
        findings.append(Finding(Level.BAD, "setuptools", "not installed", advice))
    return findings


def _mpi(facts: Facts) -> list[Finding]:
    if facts.versions.get("horovod") is None or not facts.probe.mpi:
        return []
    findings = []
    if facts.mpirun is None:
        advice = "Horovod was built with MPI, but MPI's launcher is missing: activate the environment, or module load openmpi; "
        findings.append(Finding(Level.BAD, "MPI", "no mpirun on PATH", advice + "harness launch --gloo does without"))
    elif "Open MPI" in facts.mpirun and facts.mpirun.split()[-1].startswith("5"):
        advice = "horovodrun passes options that Open MPI 5 does not know: use Open MPI 4.1, or harness launch --gloo"
        findings.append(Finding(Level.DOUBTFUL, "MPI", facts.mpirun, advice))
    else:
        findings.append(Finding(Level.GOOD, "MPI", facts.mpirun))
    version = facts.versions.get("mpi4py")
    if version is None:
        advice = "pip install mpi4py; without it a rank that fails cannot end the others at once"
        findings.append(Finding(Level.BAD, "mpi4py", "not installed", advice))
    elif facts.mpi_library is None:
        advice = "it finds no MPI library; run launch/install again"
        findings.append(Finding(Level.BAD, "mpi4py", f"{version}, cannot be loaded", advice))
    else:
        findings.append(Finding(Level.GOOD, "mpi4py", f"{version}, on {facts.mpi_library}"))
    return findings


def _hardware(facts: Facts) -> list[Finding]:
    findings = []
    if facts.gpu_devices and facts.probe.gpus < facts.gpu_devices:
        gpus = f"{facts.gpu_devices} in the machine, TensorFlow sees {facts.probe.gpus}"
        version = facts.versions.get("tensorflow")
        advice = f"pip install 'tensorflow[and-cuda]=={version}' brings CUDA; nvidia-smi says whether the driver is there"
        findings.append(Finding(Level.DOUBTFUL, "GPUs", gpus, advice))
    else:
        findings.append(
            Finding(Level.GOOD, "GPUs", str(facts.probe.gpus) if facts.probe.gpus else "none, ranks compute on the CPU")
        )
    findings.append(Finding(Level.GOOD, "cores", str(facts.cores)))
    memory = f"{facts.memory_bytes / GIB:.1f} GiB free"
    if facts.memory_bytes < LEAST_MEMORY_PER_RANK * min(facts.cores, 8):
        fits = max(facts.memory_bytes // LEAST_MEMORY_PER_RANK, 1)
        advice = f"every rank loads TensorFlow and the model: start about {fits} at most, -np {fits}"
        findings.append(Finding(Level.DOUBTFUL, "memory", memory, advice))
    else:
        findings.append(Finding(Level.GOOD, "memory", memory))
    disk = f"{facts.disk_bytes / GIB:.1f} GiB free here"
    if facts.disk_bytes < LEAST_DISK:
        findings.append(
            Finding(Level.DOUBTFUL, "disk", disk, "results are small, but predictions may not be: -o chooses another disk")
        )
    else:
        findings.append(Finding(Level.GOOD, "disk", disk))
    return findings


def _settings(facts: Facts) -> list[Finding]:
    findings, environ = [], facts.environ
    if environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        advice = "the bits of a model's output then depend on the number of threads, and so of ranks: unset it"
        findings.append(Finding(Level.DOUBTFUL, "oneDNN", "switched off by TF_ENABLE_ONEDNN_OPTS=0", advice))
    if environ.get("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", "0") != "0" and environ.get("HOROVOD_STALL_CHECK_DISABLE") != "1":
        advice = "Horovod would end a job whose ranks finish far apart; harness launch switches that off, or unset it"
        findings.append(Finding(Level.DOUBTFUL, "Horovod's stall check", "shuts down", advice))
    allowed = environ.get("OMPI_ALLOW_RUN_AS_ROOT") == "1" and environ.get("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM") == "1"
    if facts.root and facts.probe.mpi and not allowed:
        advice = "harness launch and horovodrun are fine; plain mpirun needs --allow-run-as-root"
        findings.append(Finding(Level.DOUBTFUL, "user", "root", advice))
    return findings

"""The environment variables of the harness, each once: what it does, and what holds where it is not set.

`docs/install.md` shows this table. Variables of others (Horovod's, Slurm's, TensorFlow's) are named where they are read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "BASELINES",
    "CACHE",
    "ENDPOINT_CA",
    "ENDPOINT_CERTIFICATE",
    "ENDPOINT_CREDENTIALS",
    "ENDPOINT_HEADERS",
    "ENDPOINT_KEY",
    "ENDPOINT_TOKEN",
    "LOG_FORMAT",
    "NO_SKIP",
    "POWERCAP",
    "PROGRESS",
    "REQUEUES",
    "STATE_BYTES",
    "STATUS",
    "THREADS",
    "VARIABLES",
    "Variable",
    "table",
]


@dataclass(frozen=True)
class Variable:
    """One variable: its name, what it does, and what holds where it is not set or empty; the latter two for the docs."""

    name: str
    purpose: str
    default: str

    def get(self, environ: Mapping[str, str] | None = None) -> str:
        """Return its value; empty where it is not set.

        >>> CACHE.get({"HARNESS_CACHE": "/fast"}), CACHE.get({})
        ('/fast', '')
        """
        return (os.environ if environ is None else environ).get(self.name, "")


CACHE = Variable(
    "HARNESS_CACHE",
    "folder for indexes of data files, and for copies of models on a node",
    "indexes: `$XDG_CACHE_HOME/harness`, else `~/.cache/harness`; copies: `harness-UID` in the temporary folder",
)
THREADS = Variable(
    "HARNESS_THREADS",
    "threads of each rank; `harness launch` and the batch scripts set it",
    "`SLURM_CPUS_PER_TASK`, else the cores that the process may use, shared by the ranks of the machine",
)
STATE_BYTES = Variable(
    "HARNESS_STATE_BYTES",
    "how large the state of one rank may be; a job that needs more is refused",
    "a quarter of the available memory, shared by the ranks of the machine",
)
BASELINES = Variable(
    "HARNESS_BASELINES",
    "folder of the baselines that have names; `--baselines` wins",
    "`baselines` in the working folder",
)
STATUS = Variable(
    "HARNESS_STATUS",
    "file where ranks leave the exit code of the job, which launchers lose; `harness launch` and the batch scripts set it",
    "none is left",
)
REQUEUES = Variable(
    "HARNESS_REQUEUES",
    "how often a batch script has gone on in a job of its own, where a site lets no job be requeued; the script sets it",
    "0",
)
PROGRESS = Variable(
    "HARNESS_PROGRESS",
    "`lines`: rank 0 writes its progress as lines for its launcher to draw; `harness launch` sets it where it runs on a terminal",
    "progress is written for people",
)
POWERCAP = Variable(
    "HARNESS_POWERCAP",
    "folder where the machine shows the energy counters of its processors, for containers that see it elsewhere",
    "`/sys/class/powercap`",
)
LOG_FORMAT = Variable(
    "HARNESS_LOG",
    "`json`: what evaluate, predict and launch say on stderr is one JSON object a line; `--log` wins",
    "lines for people",
)
NO_SKIP = Variable(
    "HARNESS_NO_SKIP",
    "the harness's own tests fail where they would be skipped for want of a program; `.ci/run` sets it",
    "they are skipped",
)
ENDPOINT_TOKEN = Variable("HARNESS_ENDPOINT_TOKEN", "bearer token that an endpoint is sent", "none is sent")
ENDPOINT_HEADERS = Variable(
    "HARNESS_ENDPOINT_HEADERS", "headers that an endpoint is sent with each request, a line `NAME: VALUE` each", "none are sent"
)
ENDPOINT_CA = Variable(
    "HARNESS_ENDPOINT_CA", "file (PEM) of the authority that signed an endpoint's certificate", "the authorities of the system"
)
ENDPOINT_CERTIFICATE = Variable(
    "HARNESS_ENDPOINT_CERTIFICATE", "file (PEM) of the certificate that an endpoint is shown", "none is shown"
)
ENDPOINT_KEY = Variable("HARNESS_ENDPOINT_KEY", "file (PEM) of its key, which only you can read", "none")
ENDPOINT_CREDENTIALS = Variable(
    "HARNESS_ENDPOINT_CREDENTIALS",
    "file (YAML) with `token`, `headers`, `ca`, `certificate`, `key`, or these by host under `hosts`; only you can read it",
    "the variables above",
)
VARIABLES = (
    CACHE, THREADS, STATE_BYTES, BASELINES, STATUS, REQUEUES, PROGRESS, POWERCAP, LOG_FORMAT, NO_SKIP,
    ENDPOINT_TOKEN, ENDPOINT_HEADERS, ENDPOINT_CA, ENDPOINT_CERTIFICATE, ENDPOINT_KEY, ENDPOINT_CREDENTIALS,
)  # fmt: skip


def table() -> str:
    """Return the variables as a table in Markdown."""
    rows = [f"| `{variable.name}` | {variable.purpose} | {variable.default} |" for variable in VARIABLES]
    return "\n".join(["| variable | what it does | where it is not set |", "|---|---|---|", *rows]) + "\n"

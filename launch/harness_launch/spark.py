"""Run a harness command as the ranks of a Spark job, through Horovod's Spark side: on a cluster that is there already.

    spark-submit --master MASTER launch/harness_launch/spark.py -np 4 -- evaluate JOB.yaml -o RUN

Spark gives each rank a task on an executor; nothing else of Spark is used. The nodes have the same environment, and see
job, data and run folder under the same paths. Loads Horovod and Spark; the only module of launch/ that does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, UsageError
from harness.job.job import Job
from harness.names.variables import THREADS

__all__ = ["absolute", "environment", "main", "run"]

COMMANDS = ("evaluate", "predict")


def run(command: Sequence[str], *, ranks: int | None = None, context: Any = None, start_timeout_s: int = 600) -> int:
    """Run a harness command on the executors of the active Spark context; return the exit code of the command.

    Args:
      command: ["evaluate", JOB, ...] or ["predict", JOB, ...].
      ranks: how many; None is Spark's default parallelism.
      context: a SparkContext; None is the active one.
      start_timeout_s: for Spark to start as many tasks at the same time.
    Raises: UsageError: the command is wrong. HarnessError: Spark could not run it, and no rank could say why.
    """
    words, folder = absolute(command, Path.cwd())
    import pyspark

    context = context or pyspark.SparkContext._active_spark_context
    if context is None:
        raise UsageError("there is no Spark context: start this with spark-submit, or make one first")
    try:
        import horovod.spark
    except ImportError as exc:
        raise UsageError(
            f"Horovod's Spark side cannot be loaded: {exc}; launch/install builds Horovod, pip install 'exact-harness[spark]'"
        ) from exc
    count = ranks or context.defaultParallelism
    env = environment(os.environ, context.getConf().get("spark.task.cpus", "1"))
    (folder / "status.json").unlink(missing_ok=True)  # an earlier attempt's word is not this one's
    try:
        horovod.spark.run(
            _rank, args=(words,), num_proc=count, use_gloo=True, use_mpi=False, env=env, start_timeout=start_timeout_s, verbose=0
        )
    except Exception as exc:
        # What Horovod raises says that some process failed; the run folder says why, and with which code.
        code = _status(folder)
        if not code:
            raise HarnessError(f"Spark could not run the ranks: {' '.join(str(exc).split())[:400]}") from exc
        return code
    return _status(folder) or 0


def absolute(command: Sequence[str], here: Path) -> tuple[list[str], Path]:
    """Make job and run folder absolute, as executors work elsewhere; also return the run folder.

    Raises: UsageError: it is no command that ranks can run. JobError: the job is wrong.
    """
    words = list(command)
    if len(words) < 2 or words[0] not in COMMANDS or words[1].startswith("-"):
        raise UsageError(f"expected 'evaluate JOB.yaml ...' or 'predict JOB.yaml ...', found '{' '.join(words)}'")
    words[1] = str(here / words[1])
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("-o", "--output")
    parser.add_argument("--set", action="append", default=[])
    options, _ = parser.parse_known_args(words[2:])
    if options.output is None:
        folder = Job.load(words[1], options.set, predicts=words[0] == "predict").output_folder.absolute()
        return [*words, "-o", str(folder)], folder
    return [*words, "-o", str(here / options.output)], here / options.output  # the last one counts


def environment(base: Mapping[str, str], cores: str) -> dict[str, str]:
    """Return the environment of the ranks.

    >>> environment({"PATH": "/bin"}, "2")["HARNESS_THREADS"]
    '2'
    """
    # A rank that is done waits for the others: that is no stall.
    return {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        THREADS.name: cores,
        "OMP_NUM_THREADS": cores,
        "HOROVOD_STALL_CHECK_DISABLE": "1",
        **base,
    }


def _rank(words: list[str]) -> None:
    """Be one rank, on an executor: Horovod has said in the environment which."""
    code = subprocess.call([str(Path(sys.executable).parent / "harness"), *words], stdin=subprocess.DEVNULL)
    if code:
        sys.exit(code)  # so that Horovod ends the other ranks at once


def _status(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "status.json").read_text())["exit_code"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def main(args: Sequence[str] | None = None) -> int:
    """Be the script that spark-submit runs."""
    from pyspark.sql import SparkSession

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-np", type=int, metavar="N", help="ranks; default: Spark's default parallelism")
    parser.add_argument("--start-timeout", type=int, default=600, metavar="SECONDS", help="for all tasks to be there")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- evaluate JOB.yaml ...")
    options = parser.parse_args(args)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    session = SparkSession.builder.appName("harness").getOrCreate()
    try:
        return run(command, ranks=options.np, context=session.sparkContext, start_timeout_s=options.start_timeout)
    except HarnessError as exc:
        print(f"harness: error: {exc}", file=sys.stderr)
        return exc.exit_code
    finally:
        session.stop()


if __name__ == "__main__":
    sys.exit(main())

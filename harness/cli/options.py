"""What several commands take, said once: arguments and options of click. Loads nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

__all__ = ["COUNT", "JOB", "OUTPUT", "OVERWRITE", "RESUME", "RUN", "SAME_DATA", "SET", "STALL", "Flag", "flags"]

Flag = tuple[str, str, Any, str]  # its name, what stands for its value, the value's type, help

COUNT = click.IntRange(min=1)
JOB = click.argument("job", type=click.Path(path_type=Path))
RUN = click.argument("run", type=click.Path(path_type=Path))
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Change a key of the job; may be repeated."
)
OUTPUT = click.option("-o", "--output", type=click.Path(path_type=Path), help="Run folder; default: the job's output.")
STALL = click.option(
    "--stall-timeout", default=600.0, show_default=True, metavar="SECONDS", type=click.FloatRange(min=0),
    help="End the job when a rank makes no progress for so long; 0 is never.",
)  # fmt: skip
RESUME = click.option("--resume", is_flag=True, help="Go on from what earlier attempts have finished, at any number of ranks.")
OVERWRITE = click.option("--overwrite", is_flag=True, help="Take away the run that is in the run folder, and begin anew.")
SAME_DATA = click.option(
    "--same-data", is_flag=True, help="Go on although files changed since they were evaluated: they hold the same."
)


def flags(table: Sequence[Flag], title: str = "") -> Callable[[Any], Any]:
    """Return a decorator that gives a command the options of a table.

    Args:
      table: the options.
      title: stands before the help of each.
    """

    def decorate(command: Any) -> Any:
        for name, metavar, kind, text in reversed(table):
            command = click.option(name, metavar=metavar, type=kind, help=f"{title}{text}")(command)
        return command

    return decorate

"""What several commands take, said once: arguments and options of click. Loads nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from harness.cli.paths import FilePath
from harness.names.variables import LOG_FORMAT

__all__ = [
    "BASELINES", "COUNT", "JOB", "LABEL", "LOGGING", "METRICS", "MODEL_OUTPUT", "OUTPUT", "OVERWRITE", "PRICES", "RESUME",
    "RUN", "SAME_DATA", "SET", "STALL", "Flag", "Seconds", "files", "flags", "prices_of",
]  # fmt: skip

Flag = tuple[str, str, Any, str]  # its name, what stands for its value, the value's type, help


class Seconds(click.FloatRange):
    """A time that can be waited for: neither nan, which is in any range, nor inf."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number.

        Raises: click.BadParameter: it is none, or not in the range.
        """
        seconds: float = super().convert(value, param, ctx)
        if not math.isfinite(seconds):
            self.fail(f"expected a number of seconds, found {value}", param, ctx)
        return seconds


COUNT = click.IntRange(min=1)
JOB = click.argument("job", type=FilePath(path_type=Path))
RUN = click.argument("run", type=FilePath(path_type=Path))
PRICES = click.option(
    "--prices", type=FilePath(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="Prices of what was used, as in the job's key cost, instead of those of the job.",
)  # fmt: skip
BASELINES = click.option(
    "--baselines", type=FilePath(path_type=Path), metavar="FOLDER",
    help="Folder of baselines that have names; default: baselines, or what HARNESS_BASELINES says.",
)  # fmt: skip
SET = click.option(
    "--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Change a key of the job; may be repeated."
)
OUTPUT = click.option("-o", "--output", type=FilePath(path_type=Path), help="Run folder; default: the job's output.")
STALL = click.option(
    "--stall-timeout", default=600.0, show_default=True, metavar="SECONDS", type=Seconds(min=0),
    help="End the job when a rank makes no progress for so long; 0 is never.",
)  # fmt: skip
RESUME = click.option("--resume", is_flag=True, help="Go on from what earlier attempts have finished, at any number of ranks.")
OVERWRITE = click.option("--overwrite", is_flag=True, help="Take away the run that is in the run folder, and begin anew.")
SAME_DATA = click.option(
    "--same-data", is_flag=True, help="Go on although files changed since they were evaluated: they hold the same."
)

LOGGING = click.option(
    "--log", type=click.Choice(["text", "json"]), default="text", envvar=LOG_FORMAT.name, expose_value=False,
    help="What is said on stderr: lines for people, or one JSON object an event.",
)  # fmt: skip

LABEL = click.option("--label", metavar="FEATURE", help="Of MODEL DATA: the label; default: the one that is surely it.")
METRICS = click.option(
    "--metrics",
    metavar="NAME,...",
    help="Of MODEL DATA: the metrics, with options as in '{top_k: {k: 3}}'; default: those that fit.",
)
MODEL_OUTPUT = click.option(
    "--model-output", metavar="NAME", help="Of MODEL DATA: the output that the label goes with; default: the only one that does."
)


def prices_of(path: Path | None) -> Any:
    """Return the prices of `--prices`; None where it is not there."""
    if path is None:
        return None
    from harness.job.prices_file import read_prices

    return read_prices(path)


def files(endings: str) -> Callable[[Any], Any]:
    """Return a decorator that gives a command the files that it writes what it found to, by their endings."""
    return click.option(
        "-o", "--output", "outputs", multiple=True, type=FilePath(path_type=Path), metavar="FILE",
        help=f"Write it too: {endings}; may be repeated.",
    )  # fmt: skip


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

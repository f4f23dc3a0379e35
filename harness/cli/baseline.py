"""The commands that keep runs as baselines."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import BASELINES, RUN
from harness.cli.verbosity import add_verbosity, remark

__all__ = ["baseline"]

NAME = click.argument("name")


@click.group()
def baseline() -> None:
    """Keep runs under names, each in one file, for `harness gate --baseline NAME` and `harness compare NAME RUN`."""


@click.command("set")
@NAME
@RUN
@BASELINES
def set_(name: str, run: Path, baselines: Path | None) -> int:
    """Keep a run as a baseline, in place of one of that name."""
    from harness.comparison.baselines import default_folder, file_of, save

    folder = baselines or default_folder()
    replaced = file_of(name, folder).exists()
    file = save(run, name, folder)
    remark(f"baseline: {file}, {file.stat().st_size:,} bytes{', in place of the one before' if replaced else ''}")
    return 0


@click.command("list")
@BASELINES
def list_(baselines: Path | None) -> int:
    """Name the baselines there are."""
    from harness.comparison.baselines import default_folder, names

    for name in names(baselines or default_folder()):
        click.echo(name)
    return 0


@click.command()
@NAME
@BASELINES
def show(name: str, baselines: Path | None) -> int:
    """Show the numbers of a baseline."""
    from harness.comparison.baselines import default_folder, file_of, read
    from harness.results.tables import metrics_table
    from harness.results.terminal import console_for, print_text_table

    evidence = read(file_of(name, baselines or default_folder()))
    print_text_table(console_for(1), metrics_table(evidence.document))
    return 0


@click.command()
@NAME
@BASELINES
def remove(name: str, baselines: Path | None) -> int:
    """Delete a baseline."""
    from harness.comparison.baselines import default_folder
    from harness.comparison.baselines import remove as remove_baseline

    remark(f"removed: {remove_baseline(name, baselines or default_folder())}")
    return 0


for _command in (set_, list_, show, remove):
    baseline.add_command(add_verbosity(_command))

"""The command that compares finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.documents import Document, check_endings, show, write
from harness.cli.options import BASELINES, files
from harness.cli.paths import FilePath
from harness.cli.verbosity import remark

__all__ = ["compare"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FilePath(path_type=Path), metavar="BASELINE RUN...")
@click.option("--metrics", metavar="NAME,...", help="Only these metrics.")
@click.option("--model", metavar="NAME", help="Of runs with several models, the one to compare.")
@click.option("--level", type=click.FloatRange(0.5, 1, max_open=True), help="Of intervals and verdicts; default: the job's.")
@click.option("--unpaired", is_flag=True, help="As if the examples had nothing to do with each other: wider intervals.")
@click.option("--curve", is_flag=True, help="Runs of checkpoints, in order of the step in their names: values, bands, the best.")
@click.option("--examples", is_flag=True, help="Example by example, from what `harness predict` wrote: exact counts.")
@click.option(
    "--discordant",
    type=FilePath(path_type=Path),
    metavar="FILE",
    help="With --examples: the examples that one side alone has right, as .csv or .parquet.",
)
@click.option("--json", "form", flag_value="json", help="compare.json: all digits.")
@click.option("--csv", "form", flag_value="csv", help="A line for each number.")
@click.option("--markdown", "form", flag_value="markdown", help="A summary for a pull request.")
@click.option("--latex", "form", flag_value="latex", help="A table for a paper.")
@BASELINES
@files(".json, .csv, .md or .tex")
def compare(
    runs: Sequence[Path],
    metrics: str | None,
    model: str | None,
    level: float | None,
    unpaired: bool,
    curve: bool,
    baselines: Path | None,
    examples: bool,
    discordant: Path | None,
    form: str | None,
    outputs: Sequence[Path],
) -> int:
    """Compare runs with the first one, or the models of one run with each other."""
    from harness.comparison import command, curve_command, examples_command
    from harness.errors import UsageError

    if discordant is not None and not examples:
        raise UsageError("--discordant: only with --examples")
    if examples and (curve or unpaired or level is not None):
        raise UsageError("--examples: counts pairs, without intervals: neither --level nor --unpaired nor --curve goes with it")
    asked, endings = (curve_command.Curves, curve_command.ENDINGS) if curve else (command.Compared, command.ENDINGS)
    check_endings(outputs, endings)
    compared: Document
    wanted = tuple(name.strip() for name in (metrics or "").split(",") if name.strip())
    if examples:
        compared = examples_command.ComparedExamples.of(runs, metrics=wanted, model=model, discordant=discordant)
    else:
        compared = asked.of(runs, metrics=wanted, model=model, level=level, pair=not unpaired, baselines=baselines)
    show(compared, form)
    write(compared, outputs, endings)
    for path in outputs:
        remark(f"comparison: {path}")
    return 0

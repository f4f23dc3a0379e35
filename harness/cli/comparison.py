"""The command that compares finished runs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.verbosity import remark

__all__ = ["compare"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BASELINE RUN...")
@click.option("--metrics", metavar="NAME,...", help="Only these metrics.")
@click.option("--model", metavar="NAME", help="Of runs with several models, the one to compare.")
@click.option("--level", type=click.FloatRange(0.5, 1, max_open=True), help="Of intervals and verdicts; default: the job's.")
@click.option("--unpaired", is_flag=True, help="As if the examples had nothing to do with each other: wider intervals.")
@click.option("--examples", is_flag=True, help="Example by example, from what `harness predict` wrote: exact counts.")
@click.option(
    "--discordant",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --examples: the examples that one side alone has right, as .csv or .parquet.",
)
@click.option("--json", "form", flag_value="json", help="compare.json: all digits.")
@click.option("--csv", "form", flag_value="csv", help="A line for each number.")
@click.option("--markdown", "form", flag_value="markdown", help="A summary for a pull request.")
@click.option("--latex", "form", flag_value="latex", help="A table for a paper.")
@click.option(
    "-o", "--output", "outputs", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Write it too: .json, .csv, .md or .tex; may be repeated.",
)  # fmt: skip
def compare(
    runs: Sequence[Path],
    metrics: str | None,
    model: str | None,
    level: float | None,
    unpaired: bool,
    examples: bool,
    discordant: Path | None,
    form: str | None,
    outputs: Sequence[Path],
) -> int:
    """Compare runs with the first one, or the models of one run with each other."""
    from harness.comparison.command import ENDINGS, Compared
    from harness.comparison.examples_command import ComparedExamples
    from harness.errors import UsageError
    from harness.folder.run_folder import write_atomically

    for path in outputs:
        if path.suffix not in ENDINGS:
            raise UsageError(f"-o {path}: expected a file that ends with {', '.join(ENDINGS)}")
    wanted = tuple(name.strip() for name in (metrics or "").split(",") if name.strip())
    if discordant is not None and not examples:
        raise UsageError("--discordant: only with --examples")
    if examples and (unpaired or level is not None):
        raise UsageError("--examples: counts pairs, without intervals: neither --level nor --unpaired goes with it")
    compared: Compared | ComparedExamples
    if examples:
        compared = ComparedExamples.of(runs, metrics=wanted, model=model, discordant=discordant)
    else:
        compared = Compared.of(runs, metrics=wanted, model=model, level=level, pair=not unpaired)
    with contextlib.suppress(BrokenPipeError):
        if form is None:
            compared.show()
        else:
            click.echo(compared.text(form).rstrip("\n"))
    for path in outputs:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, compared.text(ENDINGS[path.suffix]))
        remark(f"comparison: {path}")
    return 0

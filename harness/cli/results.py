"""The commands that read finished runs: show, verify, collect."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.options import RUN

__all__ = ["collect", "show", "verify"]


@click.command()
@RUN
@click.option("--sort", metavar="METRIC", help="Slices by this metric, worst first.")
@click.option("--json", "form", flag_value="json", help="metrics.json as it is: all digits.")
@click.option("--csv", "form", flag_value="csv", help="metrics.csv as it is: a line for each value.")
@click.option("--markdown", "form", flag_value="markdown", help="The tables in Markdown.")
def show(run: Path, sort: str | None, form: str | None) -> int:
    """Show the result of a run as a table."""
    from harness.errors import UsageError
    from harness.folder.run_folder import RunFolder
    from harness.results.terminal import finished, in_markdown
    from harness.results.terminal import show as show_run

    folder = RunFolder(run)
    if form is None:
        show_run(folder, sort=sort)
        return 0
    finished(folder)
    if sort and form != "markdown":
        raise UsageError(f"--sort goes with the table and with --markdown, not with --{form}")
    files = {"json": folder.metrics_json, "csv": folder.metrics_csv}
    with contextlib.suppress(BrokenPipeError):
        click.echo(in_markdown(folder, sort=sort) if form == "markdown" else files[form].read_text().rstrip("\n"))
    return 0


@click.command()
@RUN
@click.option(
    "--python", "own", metavar="FOLDER", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where metrics of your own are looked for: their code is run, to compute their values again.",
)  # fmt: skip
def verify(run: Path, own: Path | None) -> int:
    """Check the certificate and the values of a run again, from its files alone."""
    from harness.folder.run_folder import RunFolder
    from harness.metrics import load
    from harness.names.texts import printable
    from harness.run.verify import verify as run_verify

    lines, good = run_verify(RunFolder(run), None if own is None else lambda target: load(target, own))
    with contextlib.suppress(BrokenPipeError):  # the exit code tells the verdict
        click.echo("\n".join(printable(line) for line in lines))
    return 0 if good else 1


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "-o",
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the table too: .csv or .parquet; may be repeated.",
)
def collect(runs: Sequence[Path], outputs: Sequence[Path]) -> int:
    """Make one table of many runs, one row a run."""
    from harness.results.collect import check_ending, print_summary, write_summary
    from harness.results.collect import collect as collect_runs
    from harness.results.terminal import console_for

    for path in outputs:
        check_ending(path)
    frame = collect_runs(runs)
    print_summary(frame, console_for(1))
    for path in outputs:
        write_summary(frame, path)
        click.echo(f"table: {path}", err=True)
    return 0

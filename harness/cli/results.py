"""The commands that read finished runs: show, verify, collect."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.export import to
from harness.cli.options import PRICES, RUN, files, prices_of
from harness.cli.paths import FilePath
from harness.cli.verbosity import is_quiet, remark

__all__ = ["collect", "show", "verify"]

METRIC = click.option(
    "--metric", "metrics", metavar="METRIC", multiple=True, help="Only this metric, by key or label; may be repeated."
)


@click.command()
@RUN
@click.option("--sort", metavar="METRIC", help="Slices by this metric, by key or label, worst first.")
@METRIC
@click.option("--json", "form", flag_value="json", help="metrics.json as it is: all digits.")
@click.option("--csv", "form", flag_value="csv", help="metrics.csv as it is: a line for each value.")
@click.option("--markdown", "form", flag_value="markdown", help="The tables in Markdown.")
@click.option("--examples", is_flag=True, help="The examples that the job keeps.")
@PRICES
def show(run: Path, sort: str | None, metrics: Sequence[str], form: str | None, examples: bool, prices: Path | None) -> int:
    """Show the result of a run as a table."""
    from harness.errors import UsageError
    from harness.folder.run_folder import RunFolder
    from harness.results.terminal import finished, in_markdown, show_examples
    from harness.results.terminal import show as show_run

    folder = RunFolder(run)
    if examples:
        if sort or metrics or form or prices:
            raise UsageError("--examples shows a table of its own: leave out the other options")
        show_examples(folder)
        return 0
    if form is None:
        show_run(folder, sort=sort, metrics=metrics, brief=is_quiet(), prices=prices_of(prices))
        return 0
    finished(folder)
    if prices:
        raise UsageError(f"--prices goes with the table, not with --{form}")
    if (sort or metrics) and form != "markdown":
        option = "--sort" if sort else "--metric"
        raise UsageError(f"{option} goes with the table and with --markdown, not with --{form}")
    files = {"json": folder.metrics_json, "csv": folder.metrics_csv}
    with contextlib.suppress(BrokenPipeError):
        text = in_markdown(folder, sort=sort, metrics=metrics) if form == "markdown" else files[form].read_text()
        click.echo(text.rstrip("\n"))
    return 0


@click.command()
@RUN
@click.option(
    "--python", "own", metavar="FOLDER", type=FilePath(path_type=Path, exists=True, file_okay=False),
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
@click.argument("runs", nargs=-1, required=True, type=FilePath(path_type=Path), metavar="RUN...")
@files(".csv or .parquet")
@to(required=False)
@METRIC
@click.option("--slices", is_flag=True, help="After each run its slices.")
@click.option("--cost", is_flag=True, help="What each run cost: hours, energy, and with prices money and CO2.")
@PRICES
@click.option("--json", "as_json", is_flag=True, help="All digits: an object a run, with definitions, values and intervals.")
@click.option(
    "--first-pass", "is_first_pass", is_flag=True,
    help="Only the first, in this order, that its gate let pass; exit code 1: none does, 5: not known yet.",
)  # fmt: skip
def collect(
    runs: Sequence[Path], outputs: Sequence[Path], targets: Sequence[str], metrics: Sequence[str], slices: bool, cost: bool,
    prices: Path | None, as_json: bool, is_first_pass: bool,
) -> int:  # fmt: skip
    """Make one table of many runs, one row a run."""
    from harness.errors import UsageError
    from harness.export.command import export, targets_of
    from harness.results.collect import check_ending, frame, read, to_json, with_some_metrics, write_summary
    from harness.results.first_pass import first_pass
    from harness.results.run_tables import print_summary
    from harness.results.terminal import console_for

    for path in outputs:
        check_ending(path)
    spec = prices_of(prices)
    if targets and metrics:
        raise UsageError("--metric goes with the table and with -o; --to hands on runs with all their metrics")
    places = targets_of(targets)
    code = 0
    if is_first_pass:
        choice = first_pass(runs)
        runs, code = [choice.run] if choice.run is not None else [], choice.exit_code
        remark(str(choice))
    collected = read(runs, cost=cost or spec is not None, prices=spec)
    if metrics and runs:
        collected = with_some_metrics(collected, metrics)
    if as_json:
        with contextlib.suppress(BrokenPipeError):
            click.echo(json.dumps(to_json(collected, slices=slices), indent=1, allow_nan=False))
    elif collected:
        print_summary(collected, console_for(1), slices=slices)
    for path in outputs:
        write_summary(frame(collected, slices=slices), path)
        remark(f"table: {path}")
    finished = [Path(run.about["run"]) for run in collected if run.document]
    if places and len(finished) < len(collected):
        remark(f"not finished, and not handed on: {len(collected) - len(finished)} of {len(collected)} runs")
    if places and finished:
        export(finished, places, remark)
    return code

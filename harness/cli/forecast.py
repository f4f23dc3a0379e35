"""The command that says what other sizes would take: harness forecast."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import click

from harness.cli.options import COUNT, SET
from harness.cli.paths import FilePath
from harness.cli.verbosity import is_quiet
from harness.errors import UsageError

__all__ = ["forecast"]


@click.command()
@click.argument("job", type=FilePath(path_type=Path))
@click.option("--ranks", default="1,2,4,8", show_default=True, metavar="N,N,...", help="Sizes to forecast.")
@click.option("--nodes-of", type=COUNT, metavar="N", help="Ranks that share a node; default: one for each core of this one.")
@click.option(
    "--pilot", default=2000, show_default=True, type=COUNT, metavar="EXAMPLES",
    help="Of the smaller pilot run; the larger one is chosen so that its time says something.",
)  # fmt: skip
@click.option("--repeat", "repeats", default=3, show_default=True, type=COUNT, metavar="N", help="Pairs of pilot runs.")
@SET
@click.option("-o", "--output", type=FilePath(path_type=Path), help="Folder that keeps the pilot runs, and forecast.json.")
@click.option("--json", "as_json", is_flag=True, help="Print the forecast as JSON.")
@click.option("--partition", metavar="NAME", help="Of the Slurm request.")
@click.option("--submit", "submits", is_flag=True, help="Show the Slurm request of the best size, and submit it.")
@click.option("--dry-run", is_flag=True, help="With --submit: print the batch script, submit nothing.")
def forecast(
    job: Path,
    ranks: str,
    nodes_of: int | None,
    pilot: int,
    repeats: int,
    overrides: tuple[str, ...],
    output: Path | None,
    as_json: bool,
    partition: str | None,
    submits: bool,
    dry_run: bool,
) -> int:
    """Forecast what a job takes at sizes that were not run, from pilot runs at one rank, and where more ranks stop paying."""
    from harness.bench.forecast_run import Wanted, make_forecast
    from harness.bench.forecast_text import request, shown
    from harness.folder.run_folder import write_atomically

    if dry_run and not submits:
        raise UsageError("--dry-run goes with --submit: without it nothing is submitted")
    if submits and as_json:
        raise UsageError(
            "--json prints the forecast alone, --submit prints the request's answer too: leave one out; -o keeps both"
        )
    if submits and not dry_run and shutil.which("sbatch") is None:
        raise UsageError(
            "--submit: no sbatch here: log in to the cluster's login node, or load its Slurm; --dry-run shows the script"
        )
    wanted = Wanted(job, _numbers(ranks), overrides, nodes_of, pilot, repeats, output)
    predicted = make_forecast(wanted, lambda text: None if is_quiet() else print(f"harness: {text}", file=sys.stderr, flush=True))
    words = request(predicted, job, overrides, partition)
    document = {**predicted.document(), "request": ["harness", *words]}
    text = json.dumps(document, indent=1)
    if output is not None:
        write_atomically(output / "forecast.json", text + "\n")
    print(text if as_json else shown(predicted, words))
    return _submit(words, dry_run) if submits else 0


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise UsageError(f"--ranks: expected numbers such as 1,8,64, found {text!r}") from None


def _submit(words: list[str], dry_run: bool) -> int:
    """Submit as `harness submit` does."""
    from harness.cli.submit import submit

    sys.stdout.flush()
    return int(submit.main(args=[*words[1:], *(["--dry-run"] if dry_run else [])], standalone_mode=False) or 0)

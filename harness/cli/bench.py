"""The commands that measure one's own machine: bench, bench compare, bench accept."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.kit import judged_kit, loadgen
from harness.cli.options import COUNT, SET, files
from harness.cli.paths import FilePath
from harness.cli.verbosity import add_verbosity, remark
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.bench.rules import Rules

__all__ = ["bench"]

RUN = "run"


class _Bench(click.Group):
    """What is no command of its own is a job: `harness bench JOB` is `harness bench run JOB`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next((word for word in args if not word.startswith("-")), None)
        if args and first not in self.commands and args[0] not in ("-h", "--help"):
            args = [RUN, *args]
        return super().parse_args(ctx, args)


@click.group(cls=_Bench, subcommand_metavar="JOB [OPTIONS] | --kit NAME | compare A B | accept REFERENCE --against BENCH")
def bench() -> None:
    """Measure a job on this machine, at several sizes, by fixed rules: `harness bench run --help` says the options.

    `compare` sets two benches side by side, `accept` judges one by another.
    """


@click.command(RUN)
@click.argument("job", type=FilePath(path_type=Path), metavar="JOB | --kit NAME", required=False)
@click.option(
    "--kit", metavar="NAME",
    help="Instead of a job: vision, table, text, ranking, segmentation, integer or loadgen; needs no data.",
)  # fmt: skip
@click.option(
    "--seconds", default=10.0, show_default=True, type=click.FloatRange(min=0, min_open=True), metavar="S",
    help="With --kit loadgen: of each scenario, at least; MLPerf's rule is 600.",
)  # fmt: skip
@click.option("--ranks", default="1,2,4", show_default=True, metavar="N,N,...", help="Sizes.")
@click.option("--repeat", default=5, show_default=True, type=COUNT, metavar="N", help="Trials of each size that count.")
@click.option("--weak", is_flag=True, help="Weak scaling too: as many examples a rank at every size.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), metavar="M", help="Choose examples and repeats by that.")
@click.option("--gpus-per-rank", type=click.IntRange(min=0), metavar="N", help="GPUs of each rank: 1, or 0 for none.")
@click.option("-H", "hosts", metavar="HOST:N,...", help="Hosts and their ranks, as harness launch takes them.")
@click.option("--slurm", metavar="PARTITION", help="Submit each trial to Slurm, and wait for it.")
@click.option("--gloo", "comm", flag_value="gloo", help="Talk over Gloo.")
@click.option("--mpi", "comm", flag_value="mpi", help="Talk over MPI; the default where Horovod was built with it.")
@click.option(
    "--sweep", "sweeps", multiple=True, metavar="KEY=V,V,...",
    help="Try values of a key of the job, of threads or of precision; may be repeated.",
)  # fmt: skip
@click.option(
    "--resume", is_flag=True, help="Go on with the bench in the folder: what is done is kept, what failed is done again."
)
@click.option("-o", "--output", type=FilePath(path_type=Path), metavar="FOLDER", help="Default: bench-JOB.")
@SET
def run(
    job: Path | None,
    kit: str | None,
    seconds: float,
    ranks: str,
    sweeps: Sequence[str],
    output: Path | None,
    resume: bool,
    **options: Any,
) -> int:
    """Run a job at several sizes, and report times, limits and what binds."""
    from harness.bench.answer import State
    from harness.bench.bench import Request
    from harness.bench.bench import run as run_bench
    from harness.bench.bench_folder import BenchFolder
    from harness.bench.documents import PrintedBench

    if (job is None) == (kit is None):
        raise UsageError("expected a job, or --kit NAME" + ("" if job is None else ", found both"))
    rules = _rules(ranks, sweeps, options)
    folder = BenchFolder(output or Path(f"bench-{job.stem if job else f'kit-{kit}'}"))
    if kit == "loadgen":
        if click.get_current_context().get_parameter_source("ranks") is click.core.ParameterSource.DEFAULT:
            rules = replace(rules, ranks=(1,))
        return loadgen(rules, folder.path, seconds)
    if kit is not None:
        job, is_wrong = judged_kit(kit, rules, folder.path, resume=resume)
        if is_wrong:
            return 1
        folder = BenchFolder(folder.path / "bench")
        resume = resume and folder.rules() is not None
    assert job is not None
    command = [word for word in ["harness", *_words()] if word != "--resume"]
    found = run_bench(Request(job, rules, folder, resume, command), remark)
    PrintedBench(found).show()
    remark(f"bench: {folder.report_html}")
    return 0 if found.state is State.VALID else 1


def _words() -> Sequence[str]:
    """Return this command line without the program."""
    return sys.argv[1:]


def _rules(ranks: str, sweeps: Sequence[str], options: dict[str, Any]) -> Rules:
    from harness.bench.rules import Rules, Sweep

    words = [word.strip() for word in ranks.split(",")]
    if not all(word.isdigit() and int(word) for word in words):
        raise UsageError(f"--ranks {shlex.quote(ranks)}: expected sizes from 1 on, as in 1,2,4")
    sizes = tuple(sorted({int(word) for word in words}))
    return Rules(sizes, overrides=tuple(options.pop("overrides")), sweeps=tuple(map(Sweep.parse, sweeps)), **options)


@click.command()
@click.argument("first", type=FilePath(path_type=Path), metavar="A")
@click.argument("second", type=FilePath(path_type=Path), metavar="B")
@files(".json or .md")
def compare(first: Path, second: Path, outputs: Sequence[Path]) -> int:
    """Set bench B beside bench A: ratios of speed and time by size, with intervals."""
    from harness.bench.documents import read
    from harness.bench.ratio import PrintedComparison, compare_benches, write_comparison

    compared = compare_benches(read(first), read(second), (str(first), str(second)))
    for output in outputs:
        write_comparison(compared, output)
    PrintedComparison(compared).show()
    return 0


@click.command()
@click.argument("reference", type=FilePath(path_type=Path), metavar="REFERENCE")
@click.option("--against", required=True, type=FilePath(path_type=Path), metavar="BENCH", help="The bench that is judged.")
@click.option(
    "--tolerance", default="5%", show_default=True, metavar="SHARE", help="By which it may be slower, as in 5% or 0.05."
)
@files("JUnit's .xml, .md or .json")
def accept(reference: Path, against: Path, tolerance: str, outputs: Sequence[Path]) -> int:
    """Judge a bench by a reference: the same bytes, and as fast. Exit code 0, 1, or 5 where it cannot be told."""
    from harness.bench.acceptance import accept_bench, share, write_acceptance
    from harness.bench.documents import read

    allowed = share(tolerance)
    ruling = accept_bench(read(reference), read(against), allowed, (str(reference), str(against)))
    for output in outputs:
        write_acceptance(ruling, output)
    ruling.show()
    return ruling.exit_code()


for _command in (run, compare, accept):
    bench.add_command(add_verbosity(_command))

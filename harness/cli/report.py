"""The command that makes a page of finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from harness.cli.options import BASELINES
from harness.cli.paths import FilePath
from harness.cli.verbosity import remark

__all__ = ["report"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=FilePath(path_type=Path), metavar="RUN...")
@click.option(
    "-o", "--output", type=FilePath(path_type=Path), metavar="FILE",
    help="Where it is written; default: report.html, card.md, or eval_results.yaml.",
)  # fmt: skip
@click.option("--model", metavar="NAME", help="Of runs with several models, the one that is compared.")
@click.option(
    "--python", "own", metavar="FOLDER", type=FilePath(path_type=Path, exists=True, file_okay=False),
    help="Where metrics of your own are looked for: their code is run, for their plots.",
)  # fmt: skip
@click.option("--card", is_flag=True, help="A model card in Markdown instead, of one run.")
@click.option(
    "--eval-results", is_flag=True,
    help="One number in YAML instead, as the Hugging Face hub takes it for a benchmark; of one run.",
)  # fmt: skip
@click.option(
    "--benchmark", metavar="OWNER/NAME", help="With --eval-results: the benchmark's dataset on the hub; @COMMIT may follow."
)
@click.option("--task", metavar="ID", help="With --eval-results: the task, as the benchmark's eval.yaml names it.")
@click.option(
    "--metric", metavar="NAME", help="With --eval-results: which number, by key or label; with several models MODEL/NAME."
)
@click.option("--source", metavar="URL", help="With --eval-results: where more is to be read of the result.")
@click.option(
    "--examples",
    type=click.IntRange(0),
    metavar="N",
    help="Of each list and group of kept examples; default: 50. 0 leaves them out.",
)
@click.option("--title", metavar="TEXT", help="Of the page; default: the names of the runs.")
@BASELINES
def report(
    runs: Sequence[Path],
    output: Path | None,
    model: str | None,
    own: Path | None,
    card: bool,
    eval_results: bool,
    benchmark: str | None,
    task: str | None,
    metric: str | None,
    source: str | None,
    examples: int | None,
    title: str | None,
    baselines: Path | None,
) -> int:
    """Make one page of a run, or of several against the first one, that needs neither network nor server."""
    from harness.errors import UsageError
    from harness.folder.output_file import write_output
    from harness.metrics import load
    from harness.report.card import card as card_of
    from harness.report.eval_results import Benchmark
    from harness.report.eval_results import eval_results as eval_results_of
    from harness.report.kept import MOST_EXAMPLES
    from harness.report.page import render
    from harness.report.subjects import read

    kind = "--card" if card else "--eval-results" if eval_results else ""
    if card and eval_results:
        raise UsageError("--card, --eval-results: expected one of them; each writes a file of its own")
    if kind and len(runs) > 1:
        raise UsageError(f"{kind}: expected one run, found {len(runs)}; it is of one evaluation")
    if eval_results and model is not None:
        raise UsageError("--model: with --eval-results the model stands before the metric: --metric MODEL/NAME")
    _see_unused(eval_results, {"--benchmark": benchmark, "--task": task, "--metric": metric, "--source": source})
    entry_of = Benchmark.parse(benchmark, task, source) if eval_results else None
    reported = read(runs, model, baselines)
    output = output or Path({"--card": "card.md", "--eval-results": "eval_results.yaml"}.get(kind, "report.html"))
    if entry_of is not None:
        text = eval_results_of(reported.subjects[0], entry_of, metric)
    elif card:
        text = card_of(reported.subjects[0])
    else:
        finds = None if own is None else lambda target: load(target, own)
        text = render(reported, title=title or "", own=finds, examples=MOST_EXAMPLES if examples is None else examples)
    write_output(output, text)
    remark(f"report: {output}")
    return 0


def _see_unused(asked: bool, options: Mapping[str, str | None]) -> None:
    """See that options of an evaluation result are not given without it.

    Raises: UsageError: one is.
    """
    from harness.errors import UsageError

    for name, value in options.items():
        if value is not None and not asked:
            raise UsageError(f"{name}: it goes with --eval-results, which was not given")

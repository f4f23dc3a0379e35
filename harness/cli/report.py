"""The command that makes a page of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.options import BASELINES
from harness.cli.verbosity import remark

__all__ = ["report"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Where it is written; default: report.html, or card.md.",
)  # fmt: skip
@click.option("--model", metavar="NAME", help="Of runs with several models, the one that is compared.")
@click.option(
    "--python", "own", metavar="FOLDER", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where metrics of your own are looked for: their code is run, for their plots.",
)  # fmt: skip
@click.option("--card", is_flag=True, help="A model card in Markdown instead, of one run.")
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
    examples: int | None,
    title: str | None,
    baselines: Path | None,
) -> int:
    """Make one page of a run, or of several against the first one, that needs neither network nor server."""
    from harness.errors import UsageError
    from harness.folder.output_file import write_output
    from harness.metrics import load
    from harness.report.card import card as card_of
    from harness.report.kept import MOST_EXAMPLES
    from harness.report.page import render
    from harness.report.subjects import read

    if card and len(runs) > 1:
        raise UsageError(f"--card: expected one run, found {len(runs)}; a card is of one evaluation")
    reported = read(runs, model, baselines)
    output = output or Path("card.md" if card else "report.html")
    if card:
        text = card_of(reported.subjects[0])
    else:
        finds = None if own is None else lambda target: load(target, own)
        text = render(reported, title=title or "", own=finds, examples=MOST_EXAMPLES if examples is None else examples)
    write_output(output, text)
    remark(f"report: {output}")
    return 0

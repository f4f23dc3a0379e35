"""The command that says whether a run may ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from harness.cli.documents import check_endings, show, write
from harness.cli.options import BASELINES, RUN, files
from harness.cli.paths import FilePath

__all__ = ["gate"]


@click.command()
@RUN
@click.argument("rules", type=FilePath(path_type=Path))
@click.option(
    "--baseline",
    type=FilePath(path_type=Path),
    metavar="RUN",
    help="What may_drop and must_gain are against: a run, or the name of a baseline.",
)
@click.option("--model", metavar="NAME", help="Of runs with several models, the one that is judged.")
@click.option(
    "--inconclusive", type=click.Choice(["pass", "fail"]), help="What the exit code takes INCONCLUSIVE for; default: 5, its own."
)
@click.option("--json", "form", flag_value="json", help="gate.json: all digits.")
@click.option("--markdown", "form", flag_value="markdown", help="A summary for a pull request.")
@click.option("--github", "form", flag_value="github", help="Annotations of GitHub Actions.")
@BASELINES
@files(".json, .md or .xml (JUnit)")
def gate(
    run: Path,
    rules: Path,
    baseline: Path | None,
    model: str | None,
    inconclusive: str | None,
    baselines: Path | None,
    form: str | None,
    outputs: Sequence[Path],
) -> int:
    """Judge a run by the rules of a file: exit code 0 is PASS, 1 FAIL, 5 INCONCLUSIVE."""
    from harness.comparison.gate_command import ENDINGS, Ruling

    check_endings(outputs, ENDINGS)
    ruling = Ruling.of(run, rules, baseline, model, baselines)
    show(ruling, form)
    write(ruling, outputs, ENDINGS)
    return ruling.exit_code(inconclusive)

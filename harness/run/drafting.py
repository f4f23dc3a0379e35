"""Write the job of a model and files, or evaluate it at once: `harness init` and `harness evaluate MODEL DATA`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.folder.output_file import write_output
from harness.job.job import Job
from harness.job.yaml_text import parse
from harness.names.status_line import StatusLine
from harness.names.texts import printable
from harness.prepare.draft import Wishes
from harness.ranks.comm import World
from harness.run.command import Options
from harness.run.first_look import draft_job
from harness.run.run import run

__all__ = ["evaluate_draft", "init", "kept_by"]

UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
DIGEST = 6  # hexadecimal digits that tell the run folders of two questions apart


def init(
    model: str, data: Sequence[str], wishes: Wishes, output: Path, world: World, line: StatusLine, *, force: bool = False
) -> str:
    """Write the job to a file, or print it where that is `-`; return what there is to say of it.

    Raises: UsageError: the file is there already, or see `draft_job`.
    """
    if str(output) == "-":
        text = draft_job(model, data, wishes, Path("."), world, line)
        print(text, end="")
        return ""
    if output.exists() and not force:
        raise UsageError(f"{output} is there already: choose another with -o, or write over it with --force")
    text = draft_job(model, data, wishes, output.parent, world, line)
    job = Job.from_dict(parse(text, str(output)), folder=output.parent, where=str(output))
    write_output(output, text)
    name = shlex.quote(str(output))
    return (
        f"{output}: {_summary(job)}; its comments say why, and what else there is\n"
        f"next: harness check {name}, harness evaluate {name}, harness launch -- evaluate {name}"
    )


def evaluate_draft(
    model: str, data: Sequence[str], wishes: Wishes, overrides: Sequence[str], options: Options, world: World
) -> int:
    """Evaluate the job that `init` would write, here; return the exit code, and say how to keep the job.

    Raises: HarnessError: see `draft_job` and `run`.
    """
    raw = parse(draft_job(model, data, wishes, Path("."), world, options.line), "the job of MODEL DATA")
    question = Job.from_dict(raw, where="harness evaluate", overrides=overrides)
    name = f"{_word(model)}-{_word(data[0])}-{question.digest[:DIGEST]}"
    job = Job.from_dict(raw, name=name, where="harness evaluate", overrides=overrides)
    if world.rank == 0 and not options.quiet:
        print("\n".join(printable(line) for line in [_summary(job), *_orders(job)]), flush=True)
    code = run(job, options, world)
    if code == 0 and world.rank == 0 and not options.quiet:
        changes = shlex.join([word for override in overrides for word in ("--set", override)])
        further = f", and evaluate it with {changes}" if changes else ""
        print(f"keep this job: {kept_by(model, data, wishes)}{further}")
    return code


def kept_by(model: str, data: Sequence[str], wishes: Wishes) -> str:
    """Return the command that writes the job to a file.

    >>> kept_by("m.keras", ["my data.csv"], Wishes.of("y", "accuracy,{top_k: {k: 3}}", None))
    "harness init m.keras 'my data.csv' --label y --metrics 'accuracy,{top_k: {k: 3}}' -o job.yaml"
    """
    words = ["harness", "init", model, *data]
    for option, value in (("--label", wishes.label), ("--metrics", wishes.metrics_text), ("--model-output", wishes.output)):
        words += [option, value] if value else []
    return shlex.join([*words, "-o", "job.yaml"])


def _orders(job: Job) -> list[str]:
    """Say in which order classes and columns are taken: neither model nor data tell, and another gives other numbers."""
    classes = [f"classes: {', '.join(job.data.classes)}"] if isinstance(job.data.classes, list | tuple) else []
    features = {name: spec.columns for name, spec in job.data.features.items() if spec.columns}
    listed = [*classes, *(f"columns of {name}: {', '.join(columns)}" for name, columns in features.items())]
    return [f"{text}; taken to be in this order, as in training" for text in listed]


def _summary(job: Job) -> str:
    return f"label {job.data.label}; metrics {', '.join(metric.name for metric in job.metrics)}"


def _word(path: str) -> str:
    """Return what a file is called, as a part of a folder's name.

    >>> _word("models/My Net.keras"), _word("val-*.tfrecord"), _word("photos/")
    ('My-Net', 'val', 'photos')
    """
    return UNFIT.sub("-", Path(path).name.partition(".")[0]).strip("-") or "data"

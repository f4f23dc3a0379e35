"""One number of a run as the hub's evaluation result: YAML for the folder `.eval_results` of a model's repository. Pure.

The format is that of https://huggingface.co/docs/hub/eval-results: an entry says on which task of which benchmark a model
has which value. A run knows the value; which benchmark its data are of, people say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from harness.errors import RunFolderError, UsageError
from harness.names.texts import printable
from harness.names.urls import secret_in
from harness.report.drawing import clipped
from harness.report.estimates import Estimate, estimates
from harness.report.subjects import Subject
from harness.results.metric_names import find_key

__all__ = ["Benchmark", "eval_results"]

DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*")
LONGEST_DATASET, LONGEST_TASK, LONGEST_URL, LONGEST_LABEL = 96, 200, 2000, 200
REVISION = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Benchmark:
    """What a run is a result of.

    Attributes:
      dataset: the benchmark's name on the hub, OWNER/NAME.
      task: one of those in the benchmark's eval.yaml.
      revision: the commit of the benchmark that the data are of; None where nobody said.
      source: where more is to be read of the result, a URL; None for nowhere.
    """

    dataset: str
    task: str
    revision: str | None = None
    source: str | None = None

    @classmethod
    def parse(cls, dataset: str | None, task: str | None, source: str | None = None) -> Benchmark:
        """Read what a user wrote: OWNER/NAME or OWNER/NAME@REVISION, the name of a task, and a URL.

        Raises: UsageError: one of them is missing, or is not what the hub takes.

        >>> Benchmark.parse("cais/hle", "default")
        Benchmark(dataset='cais/hle', task='default', revision=None, source=None)
        """
        if dataset is None or task is None:
            missing = "--benchmark OWNER/NAME" if dataset is None else "--task ID"
            raise UsageError(f"--eval-results: expected {missing} too: the hub asks which task of which benchmark a value is of")
        name, at, revision = dataset.partition("@")
        if not DATASET.fullmatch(name) or len(name) > LONGEST_DATASET or "--" in name or ".." in name:
            raise UsageError(
                f"--benchmark {clipped(dataset)}: expected the name of a dataset on the hub, OWNER/NAME, as in cais/hle; "
                "behind it may stand @ and a commit"
            )
        if at and not REVISION.fullmatch(revision):
            raise UsageError(f"--benchmark {clipped(dataset)}: expected the 40 hexadecimal digits of a commit behind @")
        if not task.strip() or len(task) > LONGEST_TASK or printable(task) != task:
            raise UsageError(f"--task {clipped(task)!r}: expected the id of a task, as the benchmark's eval.yaml has it")
        if source is not None:
            _see_source(source)
        return cls(name, task, revision or None, source)


def _see_source(source: str) -> None:
    """Raises: UsageError: what a user wrote is no link that may be published."""
    parts = urlsplit(source) if printable(source) == source and " " not in source else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc or len(source) > LONGEST_URL:
        raise UsageError(f"--source {clipped(source)}: expected a URL that begins with https:// or http://")
    if secret := secret_in(source):
        raise UsageError(f"--source: the URL holds {secret}, and the file is made to be published; leave it out")


def eval_results(subject: Subject, benchmark: Benchmark, metric: str | None = None) -> str:
    """Return the file: one entry, the value with what is known of it.

    Args:
      subject: a finished run.
      metric: key or label of the number; with several models MODEL/METRIC. None: the only number of the run.
    Raises: RunFolderError: the run has no result. UsageError: there is no such number, or it has no value.
    """
    document = subject.document
    if document is None:
        raise RunFolderError(f"{subject.name}: no finished run; an evaluation result says what a model has shown")
    own = _chosen(estimates(document), metric)
    if own.value is None:
        raise UsageError(f"--metric {own.label}: it has no value to publish: {own.reason}")
    dataset = {"id": benchmark.dataset, "task_id": benchmark.task}
    entry: dict[str, Any] = {
        "dataset": dataset | ({"revision": benchmark.revision} if benchmark.revision else {}),
        "value": own.value,
    }
    if date := _date(subject.run):
        entry["date"] = date
    if benchmark.source:
        entry["source"] = {"url": benchmark.source}
    entry["notes"] = _notes(own, document)
    return str(yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, width=10**6))


def _chosen(numbers: list[Estimate], metric: str | None) -> Estimate:
    known = {"/".join(filter(None, (own.key, own.name))): own for own in numbers}
    labels = {key: own.label for key, own in known.items()}
    if not known:
        raise UsageError("--eval-results: the run has no metric that is a number")
    if metric is not None:
        return known[find_key(metric, labels, f"--metric {clipped(metric)}: the run has no such number")]
    if len(known) > 1:
        raise UsageError(f"--eval-results: expected --metric NAME: an entry has one value, and the run {len(known)} numbers: "
                         f"{', '.join(clipped(label) for label in labels.values())}")  # fmt: skip
    return next(iter(known.values()))


def _date(run: Mapping[str, Any]) -> str | None:
    """Return when the attempt that finished began, as run.json has it."""
    attempts = run.get("attempts")
    last = attempts[-1] if isinstance(attempts, list) and attempts else {}
    started = last.get("started") if isinstance(last, Mapping) else None
    return started if isinstance(started, str) else None


def _notes(own: Estimate, document: Mapping[str, Any]) -> str:
    """Say which number the value is, how certain, and of how many examples."""
    low, high = own.ends
    level = (document.get("bootstrap") or {}).get("level")
    interval = f"{100 * level:g} % interval {low} to {high}; " if low and level else ""
    return f"{clipped(own.label, LONGEST_LABEL)}; {interval}{document['certificate']['examples']:,} examples, each counted once"

"""Runs as OpenMetrics text: gauges with the run, the metric and the slice as labels. Replaces the file.

Prometheus' own text format reads the same text, and so does node_exporter's textfile collector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.export.exported_run import ExportedRun
from harness.export.numbers import Measured, slice_path, utf8
from harness.export.outcome import Exported
from harness.folder.output_file import write_output

__all__ = ["text", "write"]

ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
# Families, and what their help says; samples follow in this order.
FAMILIES = {
    "harness_run_info": "A run: its folder's name, what it evaluated, and the version that evaluated it.",
    "harness_run_started_timestamp_seconds": "When the run began.",
    "harness_run_step": "The step of the checkpoint.",
    "harness_run_examples": "How many examples were counted, each once.",
    "harness_metric_value": "The value of a metric.",
    "harness_metric_low": "The low end of its interval.",
    "harness_metric_high": "The high end of its interval.",
    "harness_metric_standard_error": "Its standard error.",
    "harness_metric_examples": "How many examples were scored.",
    "harness_metric_null": "1 for a value that is null; the reason is a label.",
}


def write(runs: Sequence[ExportedRun], place: str) -> Exported:
    """Write runs to a file, in the place of those that are in it; a file that holds just these is left alone."""
    path, content = Path(place), text(runs)
    if path.is_file() and path.read_bytes() == content.encode():
        return Exported(place, 0, len(runs))
    write_output(path, content)
    return Exported(place, len(runs))


def text(runs: Sequence[ExportedRun]) -> str:
    """Return the exposition; a null value has no sample but that of `harness_metric_null`."""
    samples: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for run in runs:
        for name, labels, value in _samples(run):
            samples[name].append(f"{name}{_labels(labels)} {value!r}")
    lines = []
    for name, own in samples.items():
        if own:
            lines += [f"# HELP {name} {FAMILIES[name]}", f"# TYPE {name} gauge", *own]
    return "\n".join([*lines, "# EOF", ""])


def _samples(run: ExportedRun) -> Iterator[tuple[str, dict[str, str], float | int]]:
    """Yield the samples of a run: family, labels and value."""
    which = {"run": run.name, "run_id": run.id}
    digests = {f"{name}_digest": digest for name, digest in run.digests.items()}
    yield "harness_run_info", {**which, "model": run.model, **digests, "version": run.version}, 1
    if run.started_s:
        yield "harness_run_started_timestamp_seconds", which, run.started_s
    if run.step is not None:
        yield "harness_run_step", which, run.step
    yield "harness_run_examples", which, run.examples
    for number in run.numbers:
        yield from _of_number(number, which)


def _of_number(number: Measured, which: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str], float | int]]:
    path = slice_path(number.slice)
    labels = {**which, "metric": number.tracked_name.removeprefix(f"slice/{path}/"), "slice": path}
    quantities = {
        "value": number.number, "low": number.low, "high": number.high, "standard_error": number.standard_error,
    }  # fmt: skip
    for quantity, value in quantities.items():
        if value is not None:
            yield f"harness_metric_{quantity}", labels, float(value)
    yield "harness_metric_examples", labels, number.examples
    if number.value is None:
        yield "harness_metric_null", {**labels, "reason": number.reason or ""}, 1


def _labels(labels: Mapping[str, str]) -> str:
    """Return labels as they stand behind a name; one that is empty is as good as none."""
    pairs = [f'{name}="{utf8(value).translate(ESCAPES)}"' for name, value in labels.items() if value]
    return f"{{{','.join(pairs)}}}" if pairs else ""

"""Validate a job before any rank is started: metrics, data, model, and whether they go together; say what was found.

What can be said without TensorFlow is said first. Nothing is evaluated but the first batch: whether its scores are what
the metrics take them for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.errors import HarnessError, ModelError, UsageError
from harness.job.job import Job
from harness.metrics.contract import Binding, Metric
from harness.names.texts import printable
from harness.plan.plan import Chunk
from harness.prepare.binding import ask, make_metrics
from harness.prepare.input_binding import Matched
from harness.prepare.one_class import of_one_class
from harness.prepare.opened import Opened, copy_models, open_data
from harness.prepare.prepare import Prepared, columns_of, known_outputs, load_model, match_model, predictor, wanted_predictions
from harness.ranks.schedule import static_share
from harness.results.terminal import console_for, print_table
from harness.results.values import objections
from harness.run.balance import busiest_share
from harness.run.beside import check_beside
from harness.run.found_classes import class_names, found_text, label_texts, text_labels
from harness.run.job_gate import JobGate
from harness.run.missing_numbers import first_missing
from harness.run.served_check import show_served
from harness.step.failure import translate
from harness.sums.capacity import allowed_bytes, size_text
from harness.sums.layout import Layout

if TYPE_CHECKING:
    from harness.models.randomness import Effects
    from harness.step.build import Built

__all__ = ["check"]

SHOWN_FILES = 12
SHOWN_COUNTED = 5
SHOWN_RANKS = (2, 4, 8)
UNEVEN = 1.25  # times an even share


def check(job: Job, console: Console | None = None) -> int:
    """Print what a job would do; return 0.

    Raises: UsageError: the job, its data or its model is wrong, or they do not go together.
    """
    console = console or console_for(1)
    if job.has_own_metrics or any(spec.endpoint for spec in job.named_models.values()):
        from harness.step import tensorflow as tf_setup

        tf_setup.import_tensorflow()  # others may import it, and not as quietly
    check_beside(job)
    metrics = make_metrics(job)
    gate = JobGate.of(job, metrics)
    try:
        opened = open_data(job)
        _show_data(console, job, opened)
        null = _check_model(console, job, metrics, opened)
    except UsageError:
        raise
    except HarnessError as exc:
        # In a run a broken file is a failure of the run; here it is what was asked about.
        raise UsageError(str(exc)) from exc
    if gate is not None:
        _say(console, f"gate: {gate.described}")
    if null:
        _say(console, Text.assemble(("the job would run", "yellow"), f", and these would be null: {', '.join(null)}"))
    else:
        _say(console, Text.assemble(("the job is good", "green"), ": harness launch -- evaluate JOB.yaml"))
    return 0


def _show_data(console: Console, job: Job, opened: Opened) -> None:
    """Print files, plan and balance."""
    plan = opened.plan
    whole = [file for file in plan.files if not file.divisible]
    table = Table("file", "examples", "bytes", "", header_style="bold")
    table.columns[1].justify = table.columns[2].justify = "right"
    for file in plan.files[:SHOWN_FILES]:
        table.add_row(Text(file.path), f"{file.examples:,}", f"{file.size_bytes:,}", "" if file.divisible else "one chunk")
    if len(plan.files) > SHOWN_FILES:
        table.add_row(f"and {len(plan.files) - SHOWN_FILES:,} more", "", "", "")
    print_table(console, table)
    size, largest = sum(file.size_bytes for file in plan.files), max(file.examples for file in plan.files)
    files, share = "1 file", ""
    if len(plan.files) > 1:
        files = f"{len(plan.files):,} files"
        share = f"; the largest file holds {100 * largest / plan.examples:.0f} % of the examples"
    _say(console, f"data: {job.data.format}, {files}, {plan.examples:,} examples, {size:,} bytes{share}")
    if opened.source.counted:
        _say(console, _counting(opened.source.counted, len(plan.files)))
    sizes = np.diff(plan.bounds)
    _say(
        console,
        f"plan: {len(plan):,} chunks of {plan.chunk_size:,} examples, {int(sizes.min()):,} to {int(sizes.max()):,}, "
        f"in batches of {plan.batch_size:,}",
    )
    shares = {ranks: busiest_share(plan, ranks) for ranks in SHOWN_RANKS}
    said = ", ".join(f"{share:.2f} of {ranks} ranks" for ranks, share in shares.items())
    _say(console, f"skew: in even shares the busiest does {said}")
    if whole and max(shares.values()) > UNEVEN:
        _warn(console, f"{len(whole):,} GZIP files cannot be cut, each is one chunk: write more and smaller ones, or plain ones")
    elif max(shares.values()) > UNEVEN:
        _warn(console, "there are too few chunks for so many ranks: a smaller chunk_size or batch_size makes more")
    if classes := opened.classes:
        _say(console, f"classes: {len(classes):,}: {', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}")


def _counting(counted: Sequence[str], files: int) -> str:
    """Say which files had to be gone through.

    >>> _counting(["a.csv", "b.csv"], 5)
    'counting: 2 of 5 files had to be gone through once, what was found is kept in a cache: a.csv, b.csv'
    """
    shown = ", ".join(counted[:SHOWN_COUNTED]) + (
        f" and {len(counted) - SHOWN_COUNTED:,} more" if len(counted) > SHOWN_COUNTED else ""
    )
    which = "all files" if len(counted) == files else f"{len(counted):,} of {files:,} files"
    return f"counting: {which} had to be gone through once, what was found is kept in a cache: {shown}"


def _check_model(console: Console, job: Job, metrics: Mapping[str, Metric], opened: Opened) -> list[str]:
    """Load the model, print what it takes and gives, trace the metrics, and predict the first batch.

    Returns: the metrics that have no value already there.
    """
    from harness.step import tensorflow as tf_setup

    tf_setup.import_tensorflow()  # quietly, and so before anything that imports it
    from harness.models.randomness import effects
    from harness.ranks.comm import World
    from harness.ranks.share import FixedShare
    from harness.step.build import Resources, compile_step

    threads = tf_setup.threads_per_rank(World(0, 1, 0, 1))
    tf_setup.set_up(0, threads, job.seed)
    copy_models(opened)
    model = load_model(job, opened)
    if labels := text_labels(job, metrics, opened.source):
        opened = replace(opened, text_labels=labels)
        texts = label_texts(job, opened, static_share(opened.plan, 0, 1), threads)
        opened = replace(opened, classes=class_names(texts, list(labels)))
        _say(console, found_text(opened))
    try:
        bindings, matched = match_model(job, metrics, opened, model, wanted_predictions(job).features)
    except HarnessError:
        _show_model(console, opened.model_path, model, None)  # what does not fit is seen better beside what there is
        raise
    _show_model(console, opened.model_path, model, matched)
    _show_effects(console, effects(predictor(model, matched), matched.wanted, max(job.batch_size, 2)))
    allowed = allowed_bytes(1)
    first = Chunk(0, 0, min(job.batch_size, opened.plan.examples))
    prepared = Prepared(model, ask(job, metrics, bindings, opened.classes), matched)
    compiled = compile_step(job, opened, prepared, FixedShare([first]), Resources(threads, allowed))
    step = compiled.step
    show_served(compiled, partial(_say, console), partial(_warn, console))
    _show_metrics(console, bindings, step.layouts.state)
    for note in of_one_class(prepared.question, known_outputs(model)):
        _warn(console, note)
    if job.predictions:
        columns = columns_of(job, bindings, model, matched)
        _say(console, f"predictions: {job.predictions.format}, columns {', '.join(column.name for column in columns)}")
    if kept := prepared.question.examples:
        groups = step.layouts.examples.groups(step.grid.most_slots)
        _say(console, f"examples: {kept.worst:,} by {kept.by}, {', '.join(kept.lists)}, of at most {groups:,} groups")
    if job.slices:
        crosses = ", ".join(" x ".join(part.feature for part in cross) for cross in job.slices.by)
        _say(console, f"slices: by {crosses}; at most {job.slices.maximum:,}")
    if job.bootstrap:
        _say(console, f"bootstrap: {job.bootstrap.replicates:,} replicates, seed {job.bootstrap.seed}")
    if step.grid.active:
        _say(
            console,
            f"slices and replicates: {step.grid.most_slots:,} slices x {step.grid.draws:,} draws, the whole included, with the "
            f"state {size_text(step.state_bytes)} of {size_text(allowed)} that one rank alone may take here",
        )
    null = _show_first_batch(console, job, metrics, bindings, opened, compiled, first)
    inputs = {feature: matched.wanted[feature] for feature in matched.inputs.values()}
    as_read = job.data.filter is None and job.data.transform is None  # what a model reads of an example is what the file holds
    if as_read and (missing := first_missing(opened.source, opened.plan, inputs, first.stop)):
        advice = "data.filter leaves such examples out, data.transform fills them in"
        hidden = "" if null else "; the model gives numbers all the same, so no metric shows it"
        _warn(console, f"what the model reads: {missing}: {advice}{hidden}")
    return null


def _show_first_batch(
    console: Console,
    job: Job,
    metrics: Mapping[str, Metric],
    bindings: Mapping[str, Binding],
    opened: Opened,
    compiled: Built,
    first: Chunk,
) -> list[str]:
    """Evaluate the first batch, warn of the metrics that it leaves without a value, and return their keys.

    One position that is invalid, or no probability, makes the value of all null: what is said here is sure.
    """
    try:
        state = compiled.step.run(1).sums.state
    except Exception as exc:
        raise translate(exc, compiled.feed, opened.plan, [first], job, compiled.step.labels) from exc
    layout, classes = compiled.step.layouts.state, opened.classes
    null = []
    for key, metric in metrics.items():
        texts = objections(layout, layout.carry(state), key, metric, bindings[key], classes)
        if texts:
            null.append(key)
            _warn(console, f"metric {key}: null already after the first {first.stop:,} examples: {'; '.join(texts)}")
    return null


def _show_effects(console: Console, effects: Effects) -> None:
    """Warn of what makes predictions depend on more than the example.

    Raises: ModelError: TensorFlow would refuse to run the model.
    """
    if effects.unseeded:
        raise ModelError(
            f"the model draws random numbers without a seed ({', '.join(effects.unseeded)}): TensorFlow refuses that where "
            "results have to be repeatable; export the model for inference, without them, or give each a seed"
        )
    if effects.random:
        _warn(
            console,
            f"the model draws random numbers of its own ({', '.join(effects.random)}): its predictions may depend on the order "
            "of examples and so on the number of ranks; export it without them",
        )
    if effects.writes:
        _warn(
            console,
            f"the model changes its own variables while it predicts ({', '.join(effects.writes)}): what an example gives may "
            "depend on those before it; export it for inference",
        )


def _show_model(console: Console, path: str, model: Any, matched: Matched | None) -> None:
    _say(console, f"model: {path or model.path}")
    for name, said in model.signatures.items():
        _say(console, f"signature {name}{' (used)' if name == model.used and len(model.signatures) > 1 else ''}: {said}")
    table = Table("", "name", "dtype and shape", "from feature", header_style="bold")
    for name, spec in model.inputs.items():
        feature = matched.inputs[name] if matched else ""
        table.add_row("input", Text(name), Text(_spec(spec)), Text(f"{feature}: {matched.wanted[feature]}" if matched else ""))
    for name, spec in model.outputs.items():
        table.add_row("output", Text(name), Text(_spec(spec)), "")
    print_table(console, table)


def _show_metrics(console: Console, bindings: Mapping[str, Binding], layout: Layout) -> None:
    table = Table("metric", "output", "label", "weight", "state, bytes", header_style="bold")
    table.columns[4].justify = "right"
    own: dict[Any, int] = {}
    for owner, size in ((part.key[0], part.size) for part in layout.parts):
        own[owner] = own.get(owner, 0) + size * 8
    for key, binding in bindings.items():
        outputs = ", ".join(binding.outputs_read)
        labels = ", ".join([binding.label or "", *(feature for _, feature in binding.also)]).removeprefix(", ")
        cells = (key, outputs, labels, binding.weight or "")
        table.add_row(*(Text(cell) for cell in cells), f"{own.get(key, 0):,}")
    shared = layout.size * 8 - sum(own.get(key, 0) for key in bindings)
    print_table(console, table)
    _say(console, f"state: {layout.size * 8:,} bytes, {shared:,} of them shared by metrics (positions by status, weights)")


def _spec(spec: Any) -> str:
    inner = ["B" if i == 0 and d is None else "?" if d is None else str(d) for i, d in enumerate(spec.shape)]
    return f"{spec.dtype.name} [{', '.join(inner)}]"


def _say(console: Console, text: str | Text) -> None:
    console.print(Text(printable(text)) if isinstance(text, str) else text, soft_wrap=True)


def _warn(console: Console, text: str) -> None:
    _say(console, Text.assemble(("note: ", "yellow"), text))

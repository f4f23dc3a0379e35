"""What is asked of the examples: the metrics of a job, and the output, label and weight that each reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.data import Feature
from harness.errors import JobError, nearest
from harness.job.job import Job
from harness.job.specs import ExamplesSpec
from harness.metrics import make
from harness.metrics.contract import Binding, Inputs, Metric
from harness.metrics.example_loss import loss_term, with_loss
from harness.metrics.question import Question
from harness.prepare.baselines import SECOND, baseline_model, baselines_of, with_baseline, with_baselines
from harness.prepare.output_binding import choose_outputs

__all__ = ["SLICES", "ask", "bind", "class_list", "features_read", "make_metrics", "without_labels"]

SLICES = "slices"  # the key of the job that features are read for which only say how results are grouped


def make_metrics(job: Job) -> dict[str, Metric]:
    """Build the metrics of a job by key; of several models each gets its own, as MODEL/KEY.

    A metric whose `output` names its model, as in `output: a/probabilities`, is of that one alone. One that compares is of
    all models but its baseline.

    Raises: JobError: see `metrics.make`.
    """
    metrics = with_baselines(job, make(job.metrics, job.folder))
    if not job.models:
        return metrics
    every: dict[str, Metric] = {}
    for model in job.models:
        for key, metric in metrics.items():
            own = (metric.output or "").partition("/")[0]
            if own in job.models and "/" in (metric.output or ""):
                if own == model:
                    every[f"{model}/{key}"] = metric
                continue
            if metric.compares and baseline_model(metric) == model:
                continue
            named = {o: f"{model}/{name}" for o in ("output", *metric.extra_outputs) if (name := getattr(metric, o)) is not None}
            every[f"{model}/{key}"] = metric.model_copy(update=named)
    return every


def without_labels(job: Job, metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Leave out the metrics that need a label where the job names none: predictions are wanted all the same."""
    return {
        key: metric for key, metric in metrics.items()
        if metric.inputs in (Inputs.OUTPUT, Inputs.RAW) or (metric.label or job.data.label) is not None
    }  # fmt: skip


def bind(
    job: Job, metrics: Mapping[str, Metric], outputs: Mapping[str, Feature | None], features: Mapping[str, Feature]
) -> dict[str, Binding]:
    """Say which output, label and weight each metric reads.

    Args:
      outputs: what is known of each, the batch left away.
      features: of the data.
    Raises: JobError: a name is missing or unknown, or the job asks a metric for what it does not take.
    """
    for key, metric in metrics.items():
        _refuse(job, key, metric)
    bindings = {}
    for model in job.named_models:
        own_outputs = {name: output for name, output in outputs.items() if not model or name.startswith(f"{model}/")}
        own_metrics = {key: metric for key, metric in metrics.items() if not model or key.startswith(f"{model}/")}
        own_metrics |= baselines_of(model, metrics)
        bindings.update(_bind(job, own_metrics, own_outputs, features))
    return {key: with_baseline(key, bindings) for key in metrics}


def _bind(
    job: Job, metrics: Mapping[str, Metric], outputs: Mapping[str, Feature | None], features: Mapping[str, Feature]
) -> dict[str, Binding]:
    """Bind the metrics of one model to its outputs."""
    only = next(iter(outputs)) if len(outputs) == 1 else ""
    bindings = {}
    for key, metric in metrics.items():
        binding = metric.binding(only, job.data.label, job.data.weight)
        named = [("", binding.output)] if binding.output else []
        for option, output in (*named, *binding.outputs):
            if output not in outputs:
                where = f"{option}: " if option else ""
                raise JobError(f"metric {key}: {where}the model has no output '{output}': it has {', '.join(sorted(outputs))}")
        if binding.label is None and binding.inputs not in (Inputs.OUTPUT, Inputs.RAW):
            raise JobError(f"metric {key.removesuffix(SECOND)}: needs a label; set data.label, or label: of the metric")
        bindings[key] = binding
    return choose_outputs(bindings, outputs, features)


def _refuse(job: Job, key: str, metric: Metric) -> None:
    """Refuse weights, slices and replicates by name where a metric is not defined for them.

    Raises: JobError: see above.
    """
    weight = metric.weighing(job.data.weight)
    refusals = (
        (not metric.takes_weights and weight is not None, "weights", f"weight '{weight}'", "weight"),
        (not metric.takes_slices and metric.slices and job.slices is not None, "slices", "slices", "slices"),
        (not metric.takes_replicates and metric.bootstrap and job.bootstrap is not None, "replicates", "bootstrap", "bootstrap"),
    )
    for wrong, what, wish, option in refusals:
        if wrong:
            raise JobError(
                f"metric {key}: takes no {what}, and the job has {wish}; set {option}: false on this metric to report it "
                f"without, or take it out of the job"
            )


def class_list(job: Job) -> tuple[str, ...] | None:
    """Return the names of the classes: a list in the job, or the lines of a file.

    Raises: JobError: the file cannot be read, or two classes have one name.
    """
    classes = job.data.classes
    if isinstance(classes, str):
        try:
            names = tuple(Path(job.resolve(classes)).read_text("utf-8-sig").splitlines())
        except OSError as exc:
            raise JobError(f"data.classes: {classes} cannot be read: {exc.strerror}") from exc
        except UnicodeDecodeError as exc:
            raise JobError(f"data.classes: {classes}: expected text in UTF-8: {exc}") from exc
    elif classes is None:
        return None
    else:
        names = classes
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if first.setdefault(name, number) != number:
            raise JobError(
                f"data.classes: expected a name of its own for each class, '{name}' is that of {first[name]} and of {number}"
            )
    return names


def ask(job: Job, metrics: Mapping[str, Metric], bindings: Mapping[str, Binding], classes: tuple[str, ...] | None) -> Question:
    """Return what a job asks of the examples, given the names of the classes.

    Raises: JobError: there is no loss by which examples could be chosen.
    """
    models, unknown_label = tuple(job.models), job.data.unknown_label
    # Without a label nothing is left to be wrong about: who predicts may have no metrics.
    examples = _by_loss(job.examples, metrics, bindings) if job.examples and metrics else None
    return Question(metrics, bindings, job.slices, job.bootstrap, classes, models, unknown_label, examples)


def _by_loss(spec: ExamplesSpec, metrics: Mapping[str, Metric], bindings: Mapping[str, Binding]) -> ExamplesSpec:
    """Return what a job says of examples with the metric whose term is the loss."""
    fit = with_loss(metrics)
    if spec.by is not None and spec.by not in metrics:
        raise JobError(f"examples.by: the job has no metric '{spec.by}': {nearest(spec.by, metrics)}")
    if not fit or (spec.by is not None and loss_term(metrics[spec.by]) is None):
        which = f"'{spec.by}' is none" if spec.by is not None else "the job has none"
        remedy = f"name one of {', '.join(fit)}" if fit else "add cross_entropy, log_loss, brier, mean_absolute_error or another"
        raise JobError(f"examples.by: expected a metric that is the mean of a loss of each example, {which}: {remedy}")
    by = spec.by or fit[0]
    if bindings[by].inputs not in (Inputs.CLASSES, Inputs.BINARY) and (spec.per == "confusion" or "confident" in spec.also):
        key = "per: confusion" if spec.per == "confusion" else "also: confident"
        raise JobError(f"examples.{key}: metric {by} predicts no class; choose a metric of classes with examples.by")
    return spec.model_copy(update={"by": by})


def features_read(job: Job, bindings: Mapping[str, Binding]) -> dict[str, str]:
    """Name the features that metrics, slices and bootstrap read, each with the key of the job that asks for it."""
    features: dict[str, str] = {}
    for metric, binding in bindings.items():
        options = [("label", binding.label), ("weight", binding.weight), *binding.also]
        for option, name in options:
            if name is not None:
                of_data = {"label": job.data.label, "weight": job.data.weight}.get(option) == name
                features.setdefault(name, f"data.{option}" if of_data else f"metric {metric}: {option}")
    for cross in job.slices.by if job.slices else ():
        for feature in cross:
            features.setdefault(feature.feature, SLICES)
    if job.bootstrap and job.bootstrap.cluster:
        features.setdefault(job.bootstrap.cluster, "bootstrap.cluster")
    return features

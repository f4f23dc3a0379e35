"""Load the model, match it with data and metrics, and say how a batch is predicted. Loads TensorFlow when it is called."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness import data as data_
from harness.errors import JobError, ModelError, nearest
from harness.job.job import Job
from harness.job.specs import PredictionsSpec
from harness.metrics.contract import Binding, Metric
from harness.metrics.question import Question
from harness.models.node_copy import node_path
from harness.predictions.columns import choose
from harness.predictions.prediction_files import Column
from harness.prepare.binding import SLICES, ask, bind, features_read
from harness.prepare.input_binding import Matched, declared, match
from harness.prepare.opened import Opened
from harness.prepare.served_versions import with_versions

__all__ = [
    "Prepared", "columns_of", "known_outputs", "load_model", "match_model", "predictor", "prepare_model", "taker",
    "wanted_predictions",
]  # fmt: skip


MOST_SHOWN = 1024  # numbers of a feature that is shown beside an example


@dataclass(frozen=True)
class Prepared:
    """A model that is loaded, what is asked of its outputs, and what it reads of the data.

    Attributes:
      model: see `models.model.Model`.
      question: metrics with what they read.
      matched: the model's inputs and the features they read.
      columns: what is handed to the host of each example, to be written; none where no predictions are.
    """

    model: Any
    question: Question
    matched: Matched
    columns: tuple[Column, ...] = ()


def prepare_model(job: Job, metrics: Mapping[str, Metric], opened: Opened, *, predict: bool = False) -> Prepared:
    """Load the model, bind the metrics, match the data; see `match_model`.

    Args:
      predict: whether the predictions are written.
    """
    model = load_model(job, opened)
    bindings, matched = match_model(job, metrics, opened, model, wanted_predictions(job).features if predict else ())
    columns = columns_of(job, bindings, model, matched) if predict else ()
    asked = with_versions(job, model, metrics, matched)
    return Prepared(model, ask(asked, metrics, bindings, opened.classes), matched, columns)


def load_model(job: Job, opened: Opened, own: Mapping[str, Any] | None = None) -> Any:
    """Load what predicts: a model, several as one, or what was predicted earlier.

    Args:
      own: models that are loaded already, by name.
    """
    from harness.models import loading as tf_model
    from harness.predictions.source import PredictionSource

    if isinstance(opened.source, PredictionSource):
        return tf_model.stored(opened.source.outputs)
    loaded = {}
    for name, spec in job.named_models.items():
        if own and name in own:
            loaded[name] = own[name]
            continue
        path = opened.model_paths[name]
        if path is not None and name in opened.copies:
            path = str(node_path(path, opened.copies[name]))
        loaded[name] = tf_model.load(path, spec, job.folder)
    return tf_model.several(loaded) if job.models else loaded[""]


def match_model(
    job: Job, metrics: Mapping[str, Metric], opened: Opened, model: Any, passed: Sequence[str] = ()
) -> tuple[Mapping[str, Binding], Matched]:
    """Bind the metrics to the model's outputs, and match the data with its inputs.

    Args:
      passed: features that are read beside those of the metrics.
    """
    from harness.predictions.source import OUTPUT, PredictionSource

    features = opened.source.features()
    bindings = bind(job, metrics, known_outputs(model), {**features, **declared(job.data)})
    read = features_read(job, bindings)
    shown = {**dict.fromkeys(passed, "predictions.features"), **dict.fromkeys(_shown(job), "examples.features")}
    extra = {**read, **{name: key for name, key in shown.items() if name not in read}}
    for name, spec in model.inputs.items():
        if not spec.shape.rank:
            raise ModelError(
                f"{model.path}: input '{name}' is {spec.dtype.name} {spec.shape}: expected examples along the first dimension"
            )
    needs = {name: data_.Feature(spec.dtype.name, tuple(spec.shape[1:])) for name, spec in model.inputs.items()}
    if isinstance(opened.source, PredictionSource):
        data = job.data.model_copy(update={"inputs": {name: OUTPUT + name for name in needs}, "features": {}})
        known = [feature for feature in extra if feature not in features]
        if known:
            names = [name for name in features if not name.startswith(OUTPUT)]
            raise JobError(
                f"the predictions hold no feature '{known[0]}': {nearest(known[0], names)}; "
                f"harness predict writes it where the job says predictions: {{features: [{known[0]}]}}"
            )
        return bindings, match(data, features, needs, extra, parsed=False)
    own_inputs = list(model.models.values())
    no_inputs = [name for name, key in read.items() if key != SLICES]
    matched = match(job.data, features, needs, extra, parsed=opened.source.flat, models=own_inputs, no_inputs=no_inputs)
    _check_shown(job, matched)
    # Predicting certifies what evaluating does, whatever else it passes through.
    certified = {*read, *matched.inputs.values()}
    return bindings, replace(matched, hashed={name: f for name, f in matched.wanted.items() if name in certified})


def _shown(job: Job) -> Sequence[str]:
    """Return the features that are shown beside the examples that are kept."""
    return job.examples.features if job.examples else ()


def _check_shown(job: Job, matched: Matched) -> None:
    """Refuse to show a feature of very many numbers.

    Raises: JobError: see above.
    """
    for name in _shown(job):
        shape = matched.wanted[name].shape
        if None in shape or math.prod(size or 0 for size in shape) > MOST_SHOWN:
            raise JobError(
                f"examples.features: '{name}' is {matched.wanted[name]}, expected at most {MOST_SHOWN:,} numbers; a picture that "
                "the model sees has a thumbnail anyway"
            )


def known_outputs(model: Any) -> dict[str, data_.Feature | None]:
    """Return what is known of each output of a model, the batch left away; None of a shape that it does not tell."""
    return {
        name: None if spec.shape.rank is None else data_.Feature(spec.dtype.name, tuple(spec.shape[1:]))
        for name, spec in model.outputs.items()
    }


def columns_of(job: Job, bindings: Mapping[str, Binding], model: Any, matched: Matched) -> tuple[Column, ...]:
    """Choose what `harness predict` writes: outputs, the features that metrics read, and those that the job passes through."""
    spec = wanted_predictions(job)
    outputs = {name: (spec.dtype.name, tuple(spec.shape[1:])) for name, spec in model.outputs.items()}
    features = dict.fromkeys([*features_read(job, bindings), *spec.features])
    return choose(spec, outputs, {name: (matched.wanted[name].dtype, matched.wanted[name].shape) for name in features})


def wanted_predictions(job: Job) -> PredictionsSpec:
    """Return what the job says of predictions, or the defaults."""
    return job.predictions or PredictionsSpec()


def taker(columns: Sequence[Column]) -> Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]:
    """Return the function from features and outputs to the columns that are written; the id is there anyway."""

    def take(features: Mapping[str, Any], outputs: Mapping[str, Any]) -> Mapping[str, Any]:
        return {
            column.name: (outputs if column.kind == "output" else features)[column.source]
            for column in columns
            if column.kind != "id"
        }

    return take


def predictor(model: Any, matched: Matched, *, inside: bool = False) -> Callable[[Mapping[str, Any]], Mapping[str, Any]]:
    """Return the function from features to outputs that the compiled step calls.

    Args:
      inside: leave out the models that other processes serve.
    """
    import tensorflow as tf

    from harness.exact.tf_subnormals import converted

    def predict(features: Mapping[str, Any]) -> Mapping[str, Any]:
        run = model.inside if inside else model.predict
        outputs: Mapping[str, Any] = run(
            {name: converted(features[feature], model.inputs[name].dtype, feature)
             if model.inputs[name].dtype != tf.string else features[feature]
             for name, feature in matched.inputs.items()}
        )  # fmt: skip
        return outputs

    return predict

"""Metrics of two models against NumPy and SciPy: by example and by position, in slices, weighted, from predictions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import binomtest

import harness
from harness.comparison.examples_command import ComparedExamples
from harness.errors import ShapeError
from harness.metrics.contract import Binding, Inputs
from harness.metrics.question_json import binding_from_json, binding_to_json

EXAMPLES, TOKENS, CLASSES, IGNORED = 90, 4, 5, 3
TOLERANCE = {"atol": 0.05, "rtol": 0.1}
PAIRS = ["mcnemar", "flip_rate", "prediction_difference", "largest_prediction_difference"]


def columns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    scores = rng.dirichlet(np.ones(CLASSES), [EXAMPLES, TOKENS]).astype(np.float32)
    return {
        "scores": scores,
        "turned": np.where(rng.random([EXAMPLES, TOKENS, 1]) < 0.3, scores[..., ::-1], scores),
        "tokens": np.where(rng.random([EXAMPLES, TOKENS]) < 0.5, scores.argmax(axis=-1), rng.integers(0, CLASSES, [EXAMPLES, TOKENS])),
        "group": np.arange(EXAMPLES) % 2,
        "weight": np.exp(rng.normal(size=EXAMPLES)),
    }  # fmt: skip


def models(inner: Any) -> dict[str, Any]:
    """Two models that say what two columns hold; `inner` cuts the scores."""
    return {"old": lambda features: inner(features["scores"]), "new": lambda features: inner(features["turned"])}


def counts(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> dict[str, int]:
    right, base_right = second.argmax(axis=-1) == labels, first.argmax(axis=-1) == labels
    return {
        "both_right": int((right & base_right).sum()),
        "only_right": int((right & ~base_right).sum()),
        "only_baseline_right": int((~right & base_right).sum()),
        "both_wrong": int((~right & ~base_right).sum()),
    }


def test_examples_are_counted_and_tested_in_the_whole_and_in_slices():
    data = columns()
    data["label"] = data["tokens"][:, 0]
    data |= {name: data[name][:, 0] for name in ("scores", "turned")}
    document = harness.evaluate(
        models(lambda scores: scores), data, ["accuracy", *PAIRS, {"within_tolerance": TOLERANCE}], label="label", inputs=["scores", "turned"], slices=["group"],
        bootstrap={"replicates": 20}, batch_size=16,
    ).document  # fmt: skip
    parts = [(document, slice(None))] + [(part, data["group"] == part["slice"]["group"]) for part in document["slices"]]
    assert len(parts) == 3
    for part, chosen in parts:
        metrics = part["metrics"]
        wanted = counts(data["label"][chosen], data["scores"][chosen], data["turned"][chosen])
        p = metrics["new/mcnemar"]["value"].pop("p")
        assert metrics["new/mcnemar"]["value"] == wanted
        assert p == pytest.approx(binomtest(wanted["only_right"], wanted["only_right"] + wanted["only_baseline_right"]).pvalue)
        flipped = data["scores"][chosen].argmax(axis=1) != data["turned"][chosen].argmax(axis=1)
        assert metrics["new/flip_rate"]["value"] == pytest.approx(flipped.mean(), rel=1e-15)
        apart = np.abs(data["scores"][chosen].astype(np.float64) - data["turned"][chosen])
        assert metrics["new/prediction_difference"]["value"] == pytest.approx(apart.mean(), rel=1e-13)
        assert metrics["new/largest_prediction_difference"]["value"] == apart.max()
        close = np.isclose(data["turned"][chosen].astype(np.float64), data["scores"][chosen].astype(np.float64), **TOLERANCE)
        assert metrics["new/within_tolerance"]["value"] == close.mean() and 0.4 < close.mean() < 0.9
        assert set(metrics) == {"old/accuracy", "new/accuracy", *(f"new/{name}" for name in [*PAIRS, "within_tolerance"])}
        assert "new/mcnemar" not in part["intervals"] and part["intervals"]["new/flip_rate"]["low"] is not None
    gains = document["differences"]["new - old"]
    value = document["metrics"]["new/mcnemar"]["value"]
    assert gains["accuracy"]["value"] == pytest.approx((value["only_right"] - value["only_baseline_right"]) / EXAMPLES, abs=1e-15)
    assert set(gains) == {"accuracy"}  # the baseline is not compared with itself


def test_positions_are_pairs_where_both_outputs_are_valid_and_the_label_is_not_ignored():
    data = columns()
    listed = [{"mcnemar": {"ignore_label": IGNORED, "weight": False}}, {"flip_rate": {"ignore_label": IGNORED}}]
    features = {**data, "label": data["tokens"]}
    keys = {"label": "label", "inputs": ["scores", "turned"], "weight": "weight", "batch_size": 16}
    metrics = harness.evaluate(models(lambda scores: scores), features, listed, **keys).document["metrics"]
    kept = data["tokens"] != IGNORED
    wanted = counts(data["tokens"][kept], data["scores"][kept], data["turned"][kept])
    assert metrics["new/mcnemar"]["value"] == wanted  # no p: positions of one example are not independent
    assert metrics["new/mcnemar"]["positions"] == kept.sum()
    flipped = (data["scores"].argmax(axis=-1) != data["turned"].argmax(axis=-1)) & kept
    weights = np.broadcast_to(data["weight"][:, None], kept.shape)
    assert metrics["new/flip_rate"]["value"] == pytest.approx((weights * flipped).sum() / (weights * kept).sum(), rel=1e-12)

    # One that is NaN in the baseline, one in the other, one in both: three positions, unless the label is ignored.
    kept_places, ignored_places = np.argwhere(kept), np.argwhere(~kept)
    for place, names in zip(
        [*kept_places[:3], ignored_places[0]], [("scores",), ("turned",), ("scores", "turned"), ("scores",)], strict=True
    ):
        for name in names:
            data[name][tuple(place)] = np.nan
    features = {**data, "label": data["tokens"]}
    metrics = harness.evaluate(models(lambda scores: scores), features, listed, **keys).document["metrics"]
    for key in ("new/mcnemar", "new/flip_rate"):
        assert metrics[key]["value"] is None and metrics[key]["reason"] == "3 predictions are NaN, infinite or out of range"


def test_a_binding_that_compares_nothing_is_written_as_before():
    binding = Binding(Inputs.CLASSES, "new/p", "y", baseline="old/p")
    assert binding_from_json(binding_to_json(binding)) == binding
    alone = Binding(Inputs.CLASSES, "new/p", "y")
    assert "baseline" not in binding_to_json(alone) and binding_from_json(binding_to_json(alone)) == alone


def test_outputs_of_two_shapes_are_refused():
    data = columns()
    unlike = {"old": lambda features: features["scores"][:, 0], "new": lambda features: features["turned"][:, 0, :3]}
    features = {**data, "label": data["tokens"][:, 0] % 3}
    with pytest.raises(ShapeError, match=r"metric new/mcnemar: expected a baseline of the shape of the output, found"):
        harness.evaluate(unlike, features, ["mcnemar"], label="label", inputs=["scores", "turned"])


def test_a_difference_that_no_float64_holds_is_null():
    values = np.array([1e308, 1.0, -1e308])
    apart = {"old": lambda numbers: -numbers, "new": lambda numbers: numbers}
    found = harness.evaluate(apart, {"x": values}, ["largest_prediction_difference", "prediction_difference"])
    entries = found.document["metrics"]
    assert entries["new/largest_prediction_difference"]["reason"] == "the largest difference is above what a float64 holds"
    assert entries["new/prediction_difference"]["reason"].startswith("2 terms are NaN, infinite or not below 2^128")


@pytest.fixture(scope="module")
def predicted(cli_server, tmp_path_factory):
    """A run of two outputs of one model that predicts, in a folder."""
    import tensorflow as tf

    from tests.conftest import command

    folder = tmp_path_factory.mktemp("pairs")
    data = columns()
    np.savez(folder / "data.npz", **{name: data[name][:, 0] for name in ("scores", "turned")}, label=data["tokens"][:, 0])
    module = tf.Module()
    spec = tf.TensorSpec([None, CLASSES], tf.float32)
    module.call = tf.function(lambda scores, turned: {"a": scores, "b": turned + 0}, input_signature=[spec, spec])
    tf.saved_model.save(module, str(folder / "model"), signatures=module.call)
    data_keys = {"files": "data.npz", "label": "label"}
    job = {"model": "model", "metrics": [{"mcnemar": {"output": "b", "baseline": "a"}}], "data": data_keys, "chunk_size": 32}
    several = {**job, "model": None, "models": {"old": "model", "new": "model"}}
    several["metrics"] = [{"mcnemar": {"output": "new/b", "baseline": "old/a", "name": "test"}}, {"flip_rate": {"output": "b"}}]
    several["metrics"] += [{"accuracy": {"output": name, "name": name.replace("/", " ")}} for name in ("old/a", "new/b")]
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    (folder / "several.yaml").write_text(yaml.safe_dump(several, sort_keys=False))  # the first model is the baseline

    def run(*argv: Any):
        done = command(cli_server, folder, *argv)
        assert done.code == 0, done.text
        return done

    run("predict", "several.yaml", "-o", "several")
    return folder, run


def test_two_outputs_of_one_model_and_predictions_of_two_models_give_the_same(predicted):
    folder, run = predicted
    run("evaluate", "job.yaml", "-o", "one")
    run("evaluate", "several.yaml", "--predictions", "several", "-o", "again")
    first, again, one = (json.loads((folder / name / "metrics.json").read_text()) for name in ("several", "again", "one"))
    assert again["metrics"] == first["metrics"]
    data = columns()
    wanted = counts(data["tokens"][:, 0], data["scores"][:, 0], data["turned"][:, 0])
    assert one["metrics"]["mcnemar"]["value"] == first["metrics"]["new/test"]["value"]
    assert {name: one["metrics"]["mcnemar"]["value"][name] for name in wanted} == wanted
    assert first["metrics"]["new/flip_rate"]["value"] == 0.0  # both models say the same under `b`
    assert first["definitions"]["new/test"]["binding"]["baseline"] == "old/a"
    document = ComparedExamples.of([folder / "several"]).document()  # the predictions of the two models of one run
    assert document["mcnemar"] == first["metrics"]["new/test"]["value"]
    assert (document["baseline"], document["side"], document["metric"]) == ("old", "new", ["old/old a", "new/new b"])
    run("verify", "several")  # from the journal and question.json alone

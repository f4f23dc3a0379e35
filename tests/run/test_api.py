"""Python's door, alone: what it takes, what it answers, what it refuses, what it leaves as it was."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score

import harness
from harness.data.memory import DatasetSource
from harness.errors import InvalidRun, JobError, ModelError, RunFolderError
from harness.run import evaluator
from harness.step.array_feed import ArrayStream
from harness.watch.notebook_bar import NotebookBar
from tests import made

pytestmark = pytest.mark.slow

EXAMPLES = made.examples()
# By hand: what share of the labels the largest score finds.
ACCURACY = float((np.argmax(EXAMPLES.x @ made.kernel(), axis=1) == EXAMPLES.label).mean())
ARRAYS = (EXAMPLES.x, EXAMPLES.label)


@pytest.fixture
def model():
    made_ = keras.Sequential([keras.Input((8,), name="features"), keras.layers.Dense(5, activation="softmax", use_bias=False)])
    made_.layers[0].set_weights([made.kernel()])
    return made_


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(5, activation="softmax", use_bias=False)

    def call(self, x, training=None):
        assert not training
        return self.dense(x)


def two_inputs(*names):
    left, right = (keras.Input((4,), name=name) for name in names or ("left", "right"))
    joined = keras.layers.Concatenate()([left, right])
    found = keras.Model([left, right], keras.layers.Dense(5, activation="softmax", use_bias=False)(joined))
    found.set_weights([made.kernel()])
    return found


def test_kinds_of_models(model, world):
    own = Own()
    own(EXAMPLES.x[:2])
    own.set_weights([made.kernel()])
    halves = (EXAMPLES.x[:, :4], EXAMPLES.x[:, 4:])

    @tf.function(input_signature=[tf.TensorSpec([None, 8])])
    def signed(x):
        return {"scores": x @ made.kernel()}

    given = [
        (model, ARRAYS),
        (own, ARRAYS),
        (signed, ARRAYS),
        (lambda x: x @ made.kernel(), ARRAYS),
        (
            lambda parts: tf.concat([parts["a"], parts["b"]], 1) @ made.kernel(),
            ({"a": halves[0], "b": halves[1]}, EXAMPLES.label),
        ),
        (two_inputs(), (halves, EXAMPLES.label)),
        (tf.saved_model.load(str(world.folder / "classifier")), ARRAYS),
        (str(world.folder / "classifier.keras"), ARRAYS),
        ({"path": world.folder / "classifier", "signature": "serving_default"}, ARRAYS),
    ]
    for each, data in given:
        label = None if isinstance(data[1], np.ndarray) and not isinstance(data[0], dict) else "label"
        assert harness.evaluate(each, data, ["accuracy"], label=label)["accuracy"] == pytest.approx(ACCURACY, abs=1e-15), each


def test_several_models_stand_side_by_side(model, world, tmp_path):
    """Of one input that Keras named differently in each; each as if it were evaluated alone."""
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(5, use_bias=False)])
    other.layers[0].set_weights([-made.kernel()])
    models = {"old": model, "new": other, "path": world.folder / "classifier.keras", "function": lambda x: x @ made.kernel()}
    keys = {"bootstrap": {"replicates": 5}, "slices": ["label"], "batch_size": 16}
    metrics = ["accuracy", "confusion_matrix"]
    found = harness.evaluate(models, ARRAYS, metrics, **keys, output=tmp_path / "run")
    assert harness.evaluate(models, ARRAYS, metrics, **keys, output=tmp_path / "run").document == found.document
    assert [round(203 * found[f"{name}/accuracy"]) for name in models] == [
        found.confusion_matrix.loc[name].to_numpy().trace() for name in models
    ]
    ours = [found[f"{name}/accuracy"] for name in models]
    assert ours == [ACCURACY, harness.evaluate(other, ARRAYS, ["accuracy"])["accuracy"], ACCURACY, ACCURACY]
    assert list(found.document["differences"]) == ["function - old", "new - old", "path - old"]
    assert found.document["differences"]["new - old"]["accuracy"]["value"] == ours[1] - ours[0]
    assert list(found.models) == ["old", "function", "new", "path"] and found.models.loc["accuracy", "new"] == ours[1]
    line = found.differences.set_index("difference").loc["new - old"]
    interval = found.document["differences"]["new - old"]["accuracy"]["interval"]
    assert (line["number"], line["value"], line["low"]) == ("accuracy", ours[1] - ours[0], interval["low"])
    shown = found._repr_html_()
    assert f"{interval['low']:.6g} to {interval['high']:.6g}" in shown and "<td>new - old</td>" in shown
    record = json.loads((tmp_path / "run" / "run.json").read_text())["model"]
    assert record["path"].startswith("old: Sequential ") and list(record["models"]) == ["path"]
    digest = found.document["digests"]["model"]
    other.set_weights([made.kernel()])
    with pytest.raises(RunFolderError, match="its model differs"):
        harness.evaluate(models, ARRAYS, metrics, **keys, output=tmp_path / "run")
    assert harness.evaluate({"a": model}, ARRAYS, "accuracy").document["digests"]["model"] != digest


def test_several_models_take_arrays_in_the_order_of_their_inputs():
    turned = two_inputs("right", "left")
    halves = (EXAMPLES.x[:, :4], EXAMPLES.x[:, 4:])
    both = {"a": two_inputs("first", "second"), "b": two_inputs()}
    found = harness.evaluate(both, (halves, EXAMPLES.label), ["accuracy"])
    assert (found["a/accuracy"], found["b/accuracy"]) == (ACCURACY, ACCURACY)
    with pytest.raises(ModelError, match="input 'right' is not at the same place in all models"):
        harness.evaluate({"a": two_inputs(), "b": turned}, (halves, EXAMPLES.label), ["accuracy"])
    named = dict(zip(("left", "right"), halves, strict=True))
    found = harness.evaluate({"a": two_inputs(), "b": turned}, (named, EXAMPLES.label), ["accuracy"])
    assert found["a/accuracy"] == ACCURACY != found["b/accuracy"]


def test_kinds_of_data(model, world):
    columns = {f"c{i}": EXAMPLES.x[:, i] for i in range(8)}
    frame = pd.DataFrame({**columns, "label": EXAMPLES.label, "unused": 1.0})
    given = [
        (ARRAYS, {}),
        ((EXAMPLES.x.tolist(), EXAMPLES.label.tolist()), {}),
        ({"features": EXAMPLES.x, "y": EXAMPLES.label, "unused": EXAMPLES.weight}, {"label": "y"}),
        (tf.data.Dataset.from_tensor_slices({"features": EXAMPLES.x, "y": EXAMPLES.label}).batch(9), {"label": "y"}),
        (world.folder / "all.npz", {"label": "label"}),  # x alone fits
        ({"files": str(world.folder / "*.tfrecord*"), "format": "tfrecord", "label": "label", "inputs": {"features": "x"}}, {}),
    ]
    for data, options in given:
        assert harness.evaluate(model, data, ["accuracy"], **options)["accuracy"] == ACCURACY, data
    stack = lambda parts: tf.stack([parts[name] for name in columns], 1) @ made.kernel()  # noqa: E731
    assert harness.evaluate(stack, frame, ["accuracy"], label="label", inputs=list(columns))["accuracy"] == ACCURACY


def test_answers(model):
    classes = ["a", "b", "c", "d", "e"]
    found = harness.evaluate(
        model, ARRAYS, ["accuracy", "confusion_matrix", {"recall": {"average": None}}],
        classes=classes, slices=["label"], bootstrap={"replicates": 10}, batch_size=10,
    )  # fmt: skip
    assert found["accuracy"] == ACCURACY and "accuracy" in found and "recal" not in found
    assert found.models.empty and found.differences.empty and "difference" not in found._repr_html_()
    with pytest.raises(KeyError, match="did you mean 'recall'"):
        found["recal"]
    assert set(found["recall"]) == set(classes)
    assert set(found.numbers) == {"accuracy", *(f"recall/{name}" for name in classes)}
    table = found["confusion_matrix"]
    assert isinstance(table, pd.DataFrame) and int(table[classes].to_numpy().trace()) == round(ACCURACY * 203)
    assert {"metric", "value", "low", "high", "slice:label"} <= set(found.table.columns)
    assert len(found.document["slices"]) == 5
    assert (found.certificate.examples, found.certificate.left_out, found.warnings) == (203, {}, ())
    assert repr(found).startswith("Results(accuracy=0.6798")
    assert list(found) == list(found.keys()) == ["accuracy", "confusion_matrix", "recall"] and len(found) == 3
    assert dict(found)["recall"] == found["recall"] and next(iter(found.values())) == ACCURACY
    copied = found.to_dict()
    copied["metrics"].clear()
    assert found.to_dict() == found.document != copied
    assert found.confusion_matrix.loc["a", "b"] == table.set_index("label").loc["a", "b"]


def test_frames_of_slices_and_intervals_are_the_lines_of_the_table(model):
    columns = {"x": EXAMPLES.x, "label": EXAMPLES.label, "examples": EXAMPLES.label % 2, "low": EXAMPLES.label % 3}
    found = harness.evaluate(
        model, columns, ["accuracy", {"recall": {"average": None, "name": "<b>&"}}], label="label", inputs={"features": "x"},
        classes=["low", "value", "c", "d", "e"], slices=["examples", ["low", "examples"]], bootstrap={"replicates": 10},
    )  # fmt: skip
    table = found.table.assign(number=found.table["metric"] + found.table["class"].map(lambda name: f"/{name}" if name else ""))
    features = ["slice:examples", "slice:low"]
    shared = [*features, "number", "value", "low", "high"]
    pd.testing.assert_frame_equal(
        found.intervals[found.intervals["low"].notna()][shared].sort_values(shared).reset_index(drop=True),
        table[table["low"].notna()][shared].sort_values(shared).reset_index(drop=True),
        check_dtype=False,
    )
    in_slices = table[table["slice:examples"].notna()]
    assert len(found.slices) == 7 and found.slices["examples"].sum() == 2 * len(EXAMPLES.x)
    for _, line in found.slices.iterrows():
        at = in_slices[
            [
                all(a == b or (a != a and b != b) for a, b in zip(values, line[features], strict=True))
                for values in in_slices[features].to_numpy()
            ]
        ]
        np.testing.assert_array_equal(line[at["number"]].astype(float), at["value"].astype(float))
    shown = found._repr_html_()
    low, high = found.document["intervals"]["accuracy"]["low"], found.document["intervals"]["accuracy"]["high"]
    assert f"{low:.6g} to {high:.6g}" in shown and found.certificate.id_hash in shown and "&lt;b&gt;&amp;/c" in shown


def test_a_short_name_reads_what_it_asked_for(model):
    found = harness.evaluate(model, ARRAYS, "f1")
    predicted = np.argmax(EXAMPLES.x @ made.kernel(), axis=1)
    assert found["f1"] == found["f_beta"] == pytest.approx(f1_score(EXAMPLES.label, predicted, average="macro"), rel=1e-12)
    assert "f1" in found and "auc" not in found and list(found) == ["f_beta"]


def test_the_package_shows_what_is_for_others():
    comparisons = ["compare", "compare_checkpoints", "compare_examples", "gate"]
    assert dir(harness) == sorted(["Evaluator", "ExactValidation", "Results", "__version__", "evaluate", *comparisons])


def test_a_value_that_is_none_has_a_reason(model):
    found = harness.evaluate(model, (EXAMPLES.x, EXAMPLES.label + 90), ["accuracy"])
    assert found["accuracy"] is None and "label" in found.reasons["accuracy"]
    assert math.isnan(found.numbers["accuracy"])


def test_again_and_again(model):
    """Grids and rows begin from nothing each time, the weights are those of the moment, nothing is traced again."""
    traced = []
    kernel = tf.Variable(made.kernel())

    def scores(x):
        traced.append(1)
        return x @ kernel

    evaluator = harness.Evaluator(
        scores, {"x": EXAMPLES.x, "label": EXAMPLES.label, "part": EXAMPLES.label % 2},
        ["accuracy", "cross_entropy", {"roc_auc": {"positive": 1, "from_logits": True}}],
        label="label", slices=["part"], bootstrap={"replicates": 5}, inputs=["x"],
    )  # fmt: skip
    first = evaluator.evaluate()
    built = len(traced)
    assert evaluator.evaluate().document == first.document
    kernel.assign(-kernel)
    other = evaluator.evaluate()
    assert other["accuracy"] < 0.1 < first["accuracy"]
    kernel.assign(-kernel)
    assert evaluator.evaluate().document == first.document
    assert len(traced) == built


def test_a_notebook_shows_what_others_read_on_stderr(model, monkeypatch, capsys, tmp_path):
    shown = []
    monkeypatch.setattr(evaluator, "running_notebook", object)
    monkeypatch.setattr(NotebookBar, "_show", lambda bar, text, _: shown.append(text) if bar.active else None)
    options = {"output": tmp_path / "run", "resume": True, "chunk_size": 64}
    harness.evaluate(model, ARRAYS, ["accuracy"], **options)
    assert capsys.readouterr().err == ""
    assert shown[:2] == ["opening model and data ...", "compiling the step ..."]
    assert [text for text in shown if "chunks" in text] == ["0 of 4 chunks are done already, from 0 segments ..."]
    assert "0 of 203 examples" in shown and shown[-1].startswith("203 examples in ")
    harness.evaluate(model, ARRAYS, ["accuracy"], **options)
    assert shown[-1].startswith("run: this run was done before, read in ")
    del shown[:]
    harness.evaluate(model, ARRAYS, ["accuracy"], **options, overwrite=True, progress=False)
    assert shown == [] and capsys.readouterr().err == "0 of 4 chunks are done already, from 0 segments\n"


def test_what_a_run_leaves(model, tmp_path):
    run = tmp_path / "run"
    found = harness.evaluate(model, ARRAYS, ["accuracy", "confusion_matrix"], output=run)
    assert harness.Results.load(run).document == found.document
    assert harness.evaluate(model, ARRAYS, ["accuracy", "confusion_matrix"], output=run).document == found.document
    assert not (run / "lock").exists()
    model.set_weights([-made.kernel()])
    with pytest.raises(RunFolderError, match="its model differs"):
        harness.evaluate(model, ARRAYS, ["accuracy", "confusion_matrix"], output=run)
    dataset = tf.data.Dataset.from_tensor_slices(ARRAYS)
    harness.evaluate(model, dataset, ["accuracy"], output=tmp_path / "dataset")
    with pytest.raises(RunFolderError, match="nobody can tell whether it is the same"):
        harness.evaluate(model, dataset, ["accuracy"], output=tmp_path / "dataset")
    with pytest.raises(RunFolderError, match="no finished run"):
        harness.Results.load(tmp_path)


def test_tensorflow_is_left_as_it_was(model, monkeypatch):
    from tensorflow.python.eager.context import context
    from tensorflow.python.framework import config

    monkeypatch.setattr(context(), "_seed", None)  # put back for the tests that come later
    tf.random.set_seed(5)
    wanted = tf.random.uniform([3]).numpy()
    tf.random.set_seed(5)
    harness.evaluate(model, ARRAYS, ["accuracy"])
    np.testing.assert_array_equal(tf.random.uniform([3]).numpy(), wanted)
    assert not config.is_op_determinism_enabled()
    with pytest.raises(JobError):
        harness.evaluate(model, ARRAYS, ["acuracy"])
    assert not config.is_op_determinism_enabled()


@pytest.mark.parametrize("shift", [1, -1])
def test_a_reader_that_is_off_by_one_is_invalid(model, monkeypatch, tmp_path, shift):
    right = DatasetSource._elements

    def wrong(self, start):
        for records in right(self, start):
            yield type(records)(records.ids + shift * (records.ids > 100), records.raw)

    monkeypatch.setattr(DatasetSource, "_elements", wrong)
    dataset = tf.data.Dataset.from_tensor_slices(ARRAYS)
    with pytest.raises(InvalidRun, match=r"chunk 3 \(dataset, records 96\.\.128\) has 32 examples, but not the planned ones"):
        harness.evaluate(model, dataset, ["accuracy"], batch_size=16, chunk_size=32, output=tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("wrong", "data", "options", "error", "message"),
    [
        (7, ARRAYS, {}, ModelError, "found a int"),
        ({"old": lambda x: x, "new": 7}, ARRAYS, {}, ModelError, "models.new: model: expected a Keras model, .* found a int"),
        ({}, ARRAYS, {}, JobError, "'model' is missing"),
        ({"pathh": "nowhere"}, ARRAYS, {}, ModelError, "nowhere: no such model"),
        ({"path": "nowhere"}, ARRAYS, {}, ModelError, "nowhere: no such model"),
        (lambda x: x @ np.eye(3, dtype=np.float32), ARRAYS, {}, ModelError, "cannot be called with a tensor"),
        (lambda x: x, {"x": EXAMPLES.x, "y": EXAMPLES.label}, {"label": "z", "inputs": ["x"]}, JobError, "no feature 'z'"),
        (lambda x: x, ARRAYS, {"batch_size": 0}, JobError, "batch_size"),
        (lambda x: x, (EXAMPLES.x[:0], EXAMPLES.label[:0]), {}, JobError, "expected at least one example, found none in arrays"),
        ("nowhere", ARRAYS, {}, ModelError, "no such model"),
    ],
)
def test_what_is_wrong_is_said(wrong, data, options, error, message):
    with pytest.raises(error, match=message):
        harness.evaluate(wrong, data, ["accuracy"], **options)


def test_names_of_the_door():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        harness.nothing  # noqa: B018
    assert all(getattr(harness, name) for name in harness.__all__)


def test_inputs_that_are_cut_one_example_too_far_are_no_result(model, monkeypatch):
    """Of arrays the model's inputs are cut a batch at a time, and labels of several batches together: neither may slip."""
    cut = ArrayStream.cut
    monkeypatch.setattr(ArrayStream, "cut", lambda self, line: cut(self, line + tf.cast(line[:1] == 16, tf.int64) * [1, 0, 0, 0]))
    with pytest.raises(InvalidRun, match="their id hash differs"):
        harness.evaluate(model, ARRAYS, ["accuracy"], batch_size=16, chunk_size=48)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["cat", "dog"], "found 2 names, and output 'output' has 3"),
        (["cat", "dog", "cat"], "'cat' is that of 0 and of 2"),
    ],
)
def test_names_that_are_not_those_of_the_classes_are_refused(classes, message):
    data = {"score": np.eye(3, dtype=np.float32), "label": np.arange(3)}
    metrics = ["accuracy", {"recall": {"average": "per_class"}}]
    with pytest.raises(JobError, match=message):
        harness.evaluate(lambda score: score, data, metrics, label="label", inputs=["score"], classes=classes)
    found = harness.evaluate(lambda score: score, data, metrics, label="label", inputs=["score"], classes=["a", "b", "c"])
    assert found["recall"] == {"a": 1.0, "b": 1.0, "c": 1.0}
    # One score, or a number, of two classes.
    one = {"score": np.array([0.1, 0.9, 0.8]), "label": np.array([0, 1, 1])}
    found = harness.evaluate(lambda score: score, one, metrics, label="label", inputs=["score"], classes=["no", "yes"])
    assert found["recall"] == {"no": 1.0, "yes": 1.0}

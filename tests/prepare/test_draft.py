"""The job that is written: its text, whole, and that hostile names stay names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from harness.data import Feature
from harness.errors import JobError
from harness.job.job import Job
from harness.job.yaml_text import parse
from harness.prepare.draft import FirstLook, Wishes, _flow, batch_size, write_draft
from harness.prepare.draft_reading import Reading

NOTHING = Wishes()
X, LABEL, TEXT = Feature("float32", (3,)), Feature("int64", ()), Feature("string", ())
LOOK = FirstLook(
    model="net.keras",
    files=("val.csv",),
    format="csv",
    model_inputs={"input_layer": X},
    model_outputs={"dense": X},
    features={**{name: Feature("float64", ()) for name in ("a", "b", "c", "weight")}, "city": TEXT, "label": LABEL},
    parsed=False,
    reading=Reading("label", {"x": {"dtype": "float32", "columns": ["a", "b", "c"]}}, reasons={"x": "3 columns"}, by_name=True),
    inputs={"input_layer": "x"},
    values={"label": np.array([0, 2])},
    predictions={"dense": np.array([[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]], np.float32)},
    examples=1203,
)
TEXT_OF_LOOK = """\
# Written by harness init, from what the model and the first examples show. docs/job.md has every key.
model: net.keras  # takes input_layer: float32 [3]; gives dense: float32 [3]
data:
  files: val.csv  # 1,203 examples
  format: csv
  features:
    x: {dtype: float32, columns: [a, b, c]}  # 3 columns
  # inputs: {input_layer: x}  (found by name, or by dtype and shape; write it to say otherwise)
  label: label  # int64, 0 to 2 in the 2 examples that were looked at; chosen for its name; others: weight
  # weight: weight  (to weigh each example by it)
batch_size: 64
metrics:  # a class out of several (3): the output looks like probabilities
  - accuracy
  - f1
  - cross_entropy
  # others that fit: balanced_accuracy, precision, recall, mcc, confusion_matrix, one_vs_rest_roc_auc, ece; harness metrics lists all
# slices: [city]  (every metric by group too)
# bootstrap: {replicates: 200}  (confidence intervals)
"""


def draft(look=LOOK, wishes=NOTHING):
    return write_draft(look, wishes, Path("."))


def job_of(look=LOOK, wishes=NOTHING):
    return Job.from_dict(parse(draft(look, wishes), "draft"))


def test_a_job_is_written_with_reasons():
    assert draft() == TEXT_OF_LOOK


def test_the_users_word_stands():
    job = job_of(wishes=Wishes.of("label", "auc,{top_k: {k: 2}}", None))
    assert [(metric.name, metric.options) for metric in job.metrics] == [("roc_auc", {}), ("top_k", {"k": 2})]


def test_one_of_several_outputs_is_named_on_each_metric():
    heads = {"logits": X, "probabilities": X}
    look = replace(
        LOOK,
        model_outputs=heads,
        predictions={"logits": np.array([[3.0, 0, -1]] * 2), "probabilities": LOOK.predictions["dense"]},
    )
    assert {metric.options["output"] for metric in job_of(look).metrics} == {"probabilities"}
    of_logits = job_of(look, Wishes(output="logits")).metrics
    assert [metric.options for metric in of_logits] == [{"output": "logits"}] * 2 + [{"output": "logits", "from_logits": True}]


def test_metrics_of_the_users_choice_need_no_task_that_is_known():
    look = replace(LOOK, values={"label": np.array([-5, 9])})
    with pytest.raises(JobError, match="no metric is known for a label"):
        draft(look)
    assert [metric.name for metric in job_of(look, Wishes.of(None, "accuracy", None)).metrics] == ["accuracy"]
    with pytest.raises(JobError, match="--model-output: the model has no output 'dens': did you mean 'dense'"):
        draft(look, Wishes.of(None, "accuracy", "dens"))


@pytest.mark.parametrize(
    "names, label, classes",
    [
        (("cat", "dog", "owl"), np.array([0, 2]), ("cat", "dog", "owl")),
        (None, np.array([b"b", b"a", b"c"], object), ("a", "b", "c")),
        (None, np.array([b"b", b"a"], object), None),  # not as many as there are scores: said in a comment
    ],
)
def test_classes_are_named_where_there_are_as_many_as_scores(names, label, classes):
    rows = np.resize(LOOK.predictions["dense"], (len(label), 3))
    look = replace(LOOK, class_names=names, values={"label": label}, predictions={"dense": rows})
    assert job_of(look).data.classes == classes
    assert ("# classes: the data shows" in draft(look)) == (classes is None)


def test_folders_that_are_not_the_classes_are_refused():
    look = replace(LOOK, class_names=("test", "train"))
    with pytest.raises(
        JobError, match="the data has 2 classes .test, train., the output has 3: name the folder whose subfolders"
    ):
        draft(look)


def test_a_long_name_stands_on_one_line():
    name = "a name " * 20 + "end"
    assert yaml.safe_load(f"{_flow(name)}: {_flow({name: [name] * 3})}") == {name: {name: [name] * 3}}


HOSTILE = "a\nmetrics: [evil]\x1b[2K # {"


def test_names_out_of_files_do_not_become_keys_or_escape_their_comments():
    look = replace(
        LOOK,
        files=(f"{HOSTILE}.csv",),
        features={**LOOK.features, HOSTILE: LABEL, "true": LABEL},
        model_outputs={HOSTILE: X},
        predictions={HOSTILE: LOOK.predictions["dense"]},
        reading=replace(LOOK.reading, label=HOSTILE, declarations={"x": {"dtype": "float32", "columns": [HOSTILE, "true", "c"]}}),
        values={HOSTILE: np.array([0, 2])},
        inputs={HOSTILE: HOSTILE},
        class_names=(HOSTILE, "yes", "3"),
    )
    job = job_of(look)
    assert (job.data.label, job.data.files, job.data.classes) == (HOSTILE, (f"{HOSTILE}.csv",), (HOSTILE, "yes", "3"))
    assert job.data.features["x"].columns == (HOSTILE, "true", "c")
    assert [metric.name for metric in job.metrics] == ["accuracy", "f_beta", "cross_entropy"]
    assert "\x1b" not in draft(look)


def test_hundreds_of_columns_are_written_over_several_lines():
    columns = [f"column_{number}" for number in range(400)]
    look = replace(LOOK, reading=replace(LOOK.reading, declarations={"x": {"dtype": "float32", "columns": columns}}))
    assert list(job_of(look).data.features["x"].columns) == columns
    assert max(map(len, draft(look).splitlines())) < 140


@pytest.mark.parametrize(
    "shape, dtype, examples, size",
    [((8,), "float32", 10**6, 256), ((8,), "float32", 797, 32), ((8,), "float32", 20, 8), ((224, 224, 3), "float32", 10**6, 32),
     ((224, 224, 3), "uint8", 10**6, 128), ((None, None, 3), "float32", 10**6, 256), ((4096, 4096, 3), "float32", 10**6, 8), ((), "string", 10**6, 256)],
)  # fmt: skip
def test_a_batch_takes_about_so_much_memory_and_there_are_several(shape, dtype, examples, size):
    assert batch_size({"x": Feature(dtype, shape)}, examples) == size


def test_what_a_model_insists_on_is_written():
    job = job_of(replace(LOOK, fixed_batch=3, signature="predict"))
    assert job.batch_size == 3 and job.model is not None and (job.model.path, job.model.signature) == ("net.keras", "predict")

"""Which output each metric reads, where the job does not say."""

import pytest

from harness.data import Feature
from harness.errors import JobError
from harness.job.job import Job
from harness.metrics import make
from harness.prepare.binding import bind

SCORES, AMOUNT, LABEL, AGE = Feature("float32", (5,)), Feature("float32", (1,)), Feature("int64", ()), Feature("float32", ())
FEATURES = {"label": LABEL, "age": AGE, "tags": SCORES, "pixels": Feature("int64", (4, 4)), "word": Feature("string", ())}
HEADS = {"class": SCORES, "years": AMOUNT}


def outputs_of(*metrics, outputs=HEADS, label="label"):
    job = Job.from_dict({"model": "m", "data": {"files": "a.npz", "label": label}, "metrics": list(metrics)})
    return {key: binding.output for key, binding in bind(job, make(job.metrics), outputs, FEATURES).items()}


MAE = {"mean_absolute_error": {"label": "age"}}


@pytest.mark.parametrize(
    "metrics, outputs, bound",
    [
        (["accuracy"], {"dense_3": SCORES}, ["dense_3"]),
        ([MAE], HEADS, ["years"]),
        # Accuracy could read the years as one score of two classes, but the label of the years fits nothing else.
        (["accuracy", "f1", MAE], HEADS, ["class", "class", "years"]),
        (["accuracy", {"mean": {"output": "years"}}, MAE], HEADS, ["class", "years", "years"]),
        ([{"exact_match": {"label": "tags"}}], HEADS, ["class"]),
        ([{"accuracy": {"label": "tags", "one_hot": True}}], HEADS, ["class"]),
        ([{"accuracy": {"classes": 5}}], {"scores": SCORES, "best": Feature("int32", ())}, ["best"]),
        ([{"mean_iou": {"label": "pixels"}}], {"a": Feature("float32", (4, 4, 3)), "b": Feature("float32", (2, 2, 3))}, ["a"]),
        ([{"accuracy": {"label": "word"}}], {"scores": SCORES, "mask": Feature("float32", (4, 4))}, ["scores"]),
        ([MAE], {"amount": AMOUNT, "note": Feature("string", ())}, ["amount"]),
        ([{"mean": {"output": "class"}}], HEADS, ["class"]),
    ],
)
def test_the_output_that_alone_fits_is_read(metrics, outputs, bound):
    assert list(outputs_of(*metrics, outputs=outputs).values()) == bound


@pytest.mark.parametrize(
    "metrics, outputs, message",
    [
        (
            ["accuracy"],
            {"a": SCORES, "b": SCORES},
            "metric accuracy: the model has several outputs, say which: output: one of a (fl",
        ),
        (["accuracy"], HEADS, "say which: output: one of class (float32 [5]), years (float32 [1])"),
        (["accuracy", {"mean": {"output": "b"}}], {"a": SCORES, "b": SCORES}, "metric accuracy: the model has several outputs"),
        (["mean"], HEADS, "metric mean: the model has several outputs"),
        (
            [MAE],
            {"a": SCORES, "b": SCORES},
            "none is of a shape that goes with its label; say which: output: one of a (float32 [5])",
        ),
        (["accuracy"], {"a": None, "b": None}, "one of a (of any shape), b (of any shape)"),
    ],
)
def test_what_two_outputs_fit_is_not_guessed(metrics, outputs, message):
    with pytest.raises(JobError) as caught:
        outputs_of(*metrics, outputs=outputs)
    assert message in str(caught.value)


def test_each_of_several_models_has_outputs_of_its_own():
    job = Job.from_dict(
        {"models": {"a": "a", "b": "b"}, "data": {"files": "a.npz", "label": "label"}, "metrics": ["accuracy", MAE]}
    )
    metrics = {f"{model}/{key}": metric for key, metric in make(job.metrics).items() for model in job.models}
    outputs = {"a/dense": SCORES, "a/dense_1": AMOUNT, "b/dense_7": AMOUNT, "b/dense_8": SCORES}
    bound = {key: binding.output for key, binding in bind(job, metrics, outputs, FEATURES).items()}
    assert bound == {
        "a/accuracy": "a/dense", "b/accuracy": "b/dense_8",
        "a/mean_absolute_error": "a/dense_1", "b/mean_absolute_error": "b/dense_7",
    }  # fmt: skip

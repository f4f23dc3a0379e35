"""Which feature feeds which input."""

import pytest

from harness.data import SERIALIZED, Feature
from harness.errors import JobError, ModelError
from harness.job.specs import DataSpec
from harness.prepare.input_binding import match

X = Feature("float32", (8,))
FOUND = {"x": X, "label": Feature("int64", (1,)), "weight": Feature("float32", (1,))}


def spec(**keys) -> DataSpec:
    return DataSpec(**{"files": "a.tfrecord", "label": "label", **keys})


def matched(data=None, found=FOUND, needs=None, extra=("label",), parsed=True):
    return match(data or spec(), found, needs or {"x": X}, list(extra), parsed=parsed)


def test_equal_names_go_together():
    found = matched()
    assert found.inputs == {"x": "x"}
    assert found.wanted == {"x": X, "label": Feature("int64", ())}


def test_the_only_feature_left_feeds_the_only_input():
    found = matched(needs={"keras_tensor_7": X}, extra=("label", "weight"))
    assert found.inputs == {"keras_tensor_7": "x"}


def test_a_signature_of_serialized_examples_needs_no_feature():
    found = matched(needs={"examples": Feature("string", ())})
    assert found.inputs == {"examples": SERIALIZED}
    assert set(found.wanted) == {SERIALIZED, "label"}


@pytest.mark.parametrize(
    "wants, has, shape",
    [
        ((2, 4), (8,), (2, 4)),  # records hold flat lists
        ((None, 4), (8,), (2, 4)),
        ((2, 2, None), (8,), (2, 2, 2)),
        ((), (1,), ()),
    ],
)
def test_flat_values_take_the_shape_of_the_input(wants, has, shape):
    found = matched(needs={"x": Feature("float32", wants)}, found={**FOUND, "x": Feature("float32", has)})
    assert found.wanted["x"] == Feature("float32", shape)


@pytest.mark.parametrize(
    "data, needs, parsed, message",
    [
        (spec(inputs={"y": "x"}), {"x": X}, True, "the model has no input 'y'"),
        (spec(inputs={"x": "X"}), {"x": X}, True, "data.inputs: the data has no feature 'X'"),
        (spec(inputs={"x": "x"}), {"x": X, "z": X}, True, "nothing is bound to the model's input z"),
        (None, {"x": Feature("float32", (9,))}, True, "takes float32 [9], feature 'x' is float32 [8], 8 values"),
        (None, {"x": Feature("float32", (3, None))}, True, "they do not fill the shape"),
        (None, {"x": Feature("float32", (None, None))}, True, "they do not fill the shape"),
        (None, {"x": Feature("int64", (8,))}, True, "a float32 is not turned into int64"),
        (None, {"x": Feature("string", (8,))}, True, "one is a string and the other is not"),
        (None, {"x": Feature("float32", (2, 4))}, False, "the shapes differ"),
        (None, {"a": X, "b": X}, True, "say which feature each model input reads"),
    ],
)
def test_what_does_not_fit_is_said(data, needs, parsed, message):
    with pytest.raises((ModelError, JobError)) as caught:
        matched(data, needs=needs, parsed=parsed)
    assert message in str(caught.value)


def test_a_label_that_is_not_there_names_the_nearest():
    with pytest.raises(JobError, match="no feature 'lable': did you mean 'label'"):
        matched(extra=["lable"])


def test_the_jobs_word_on_a_feature_counts():
    data = spec(features={"x": {"dtype": "float32", "shape": [2, 4]}}, inputs={"x": "x"})
    assert matched(data, found={"label": FOUND["label"]}).wanted["x"] == X

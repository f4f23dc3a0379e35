"""Which feature feeds which input."""

import pytest

from harness.data import SERIALIZED, Feature, Kind
from harness.errors import JobError, ModelError
from harness.job.specs import DataSpec
from harness.prepare.input_binding import match

X = Feature("float32", (8,))
ID, TEXT = Feature("int64", ()), Feature("string", ())
PICTURE, IMAGE = Feature("float32", (8, 8, 3)), Feature("uint8", (None, None, None), Kind.IMAGE)
FOUND = {"x": X, "label": Feature("int64", (1,)), "weight": Feature("float32", (1,))}


def spec(**keys) -> DataSpec:
    return DataSpec(**{"files": "a.tfrecord", "label": "label", **keys})


def matched(data=None, found=FOUND, needs=None, extra=("label",), parsed=True):
    return match(data or spec(), found, needs or {"x": X}, dict.fromkeys(extra, "data.label"), parsed=parsed)


def test_equal_names_go_together():
    found = matched()
    assert found.inputs == {"x": "x"}
    assert found.wanted == {"x": X, "label": Feature("int64", ())}


def test_the_only_feature_left_feeds_the_only_input():
    found = matched(needs={"keras_tensor_7": X}, extra=("label", "weight"))
    assert found.inputs == {"keras_tensor_7": "x"}


@pytest.mark.parametrize(
    "needs, found, bound",
    [
        ({"input_layer_1": X}, {"x": X, "id": ID, "note": TEXT}, {"input_layer_1": "x"}),
        ({"input_layer_1": PICTURE}, {"image": IMAGE, "class": TEXT}, {"input_layer_1": "image"}),
        ({"a": X, "b": ID}, {"x": X, "id": ID}, {"a": "x", "b": "id"}),  # each fits one
        ({"a": X, "x": X}, {"x": X, "y": X}, {"a": "y", "x": "x"}),  # equal names first
        ({"a": Feature("int64", (8,))}, {"x": X, "n": Feature("int32", (8,))}, {"a": "n"}),  # a float is no integer
    ],
)
def test_the_feature_that_alone_fits_feeds_an_input(needs, found, bound):
    features = {**found, "label": Feature("int64", ())}
    assert matched(needs=needs, found=features, parsed=False).inputs == bound


def test_what_an_expression_reads_is_no_input():
    numbers = {"x": Feature("float32", ()), "target": Feature("float32", ()), "target == 1": Feature("bool", ())}
    bound = match(spec(), numbers, {"input_layer": Feature("float32", ())}, {"target == 1": "data.label"}, parsed=False)
    assert dict(bound.inputs) == {"input_layer": "x"}


def test_what_is_kept_or_sliced_by_says_nothing_of_the_inputs():
    found = {"a": X, "b": X, "label": ID}
    extra = {"label": "data.label", "a": "predictions.features"}
    with pytest.raises(ModelError, match="'a' and 'b' fit"):
        match(spec(), found, {"input_layer": X}, extra, parsed=False, no_inputs=["label"])
    bound = match(spec(), {"a": X, "label": ID}, {"input_layer": X}, extra, parsed=False, no_inputs=["label"])
    assert bound.inputs == {"input_layer": "a"} and bound.wanted["a"] == X


def test_two_models_may_read_one_feature_under_two_names():
    needs = {"input_layer": X, "input_layer_3": X, "age": ID}
    found = {"x": X, "id": ID, "label": Feature("int64", ())}
    bound = match(
        spec(), found, needs, {"label": "data.label"}, parsed=False, models=[["input_layer", "age"], ["input_layer_3", "age"]]
    )
    assert bound.inputs == {"input_layer": "x", "input_layer_3": "x", "age": "id"}
    with pytest.raises(ModelError, match="'input_layer' takes .* and 'x' fits; 'input_layer_3' takes .* and 'x' fits"):
        match(spec(), found, needs, {"label": "data.label"}, parsed=False)  # nor is a feature bound twice in one model


def test_what_two_features_fit_is_not_guessed():
    with pytest.raises(ModelError) as caught:
        matched(needs={"input_layer_1": X}, found={"left": X, "right": X, "id": ID, "label": ID}, parsed=False)
    assert str(caught.value) == (
        "data.inputs: say which feature each model input reads, as in inputs: {input_layer_1: left}; 'input_layer_1' takes "
        "float32 [8], and 'left' and 'right' fit; the data has id: int64 [], label: int64 [], left: float32 [8], right: float32 [8]"
    )


def test_a_label_is_never_guessed_to_be_an_input():
    with pytest.raises(ModelError, match="'input_layer_1' takes float32 .8., and no feature fits; the data has"):
        matched(needs={"input_layer_1": X}, found={"y": X, "id": ID, "note": TEXT}, extra=["y"], parsed=False)


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

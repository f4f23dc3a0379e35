"""Which feature is the label, and what a job declares for the inputs, where nobody has said."""

import pytest

from harness.data import Feature, Kind
from harness.errors import JobError
from harness.prepare.draft_reading import choose_reading

X, N, R, T = Feature("float32", (3,)), Feature("int64", ()), Feature("float64", ()), Feature("string", ())
WIDE = {"a": R, "b": N, "c": R}
IMAGE = Feature("uint8", (None, None, None), Kind.IMAGE)
ANY_SIZE = Feature("float32", (None, None, 3))


def reading(inputs, features, **keys):
    return choose_reading(inputs, features, **{"parsed": False, **keys})


@pytest.mark.parametrize(
    "inputs, features, label, by_name",
    [
        ({"input_layer": X}, {"x": X, "weight": R, "Label": N}, "Label", True),
        ({"input_layer": X}, {"x": X, "target": R, "label": N}, "label", True),  # the first of the usual names
        ({"y": X}, {"y": X, "target": N}, "target", True),  # an input is no label, whatever its name
        ({"input_layer": X}, {"x": X, "image/class/label": N, "image/class/text": T}, "image/class/label", True),
        ({"input_layer": X}, {"x": X, "clicked": N}, "clicked", False),
        ({"x": X, "m": N}, {"x": X, "m": N, "clicked": R}, "clicked", False),
        ({"input_layer": X}, {**WIDE, "species": T}, "species", False),
        ({"input_layer": Feature("float32", (8, 8, 3))}, {"image": IMAGE, "breed": N}, "breed", False),
    ],
)
def test_the_label_is_known_by_its_name_or_is_what_no_input_reads(inputs, features, label, by_name):
    chosen = reading(inputs, features)
    assert (chosen.label, chosen.by_name) == (label, by_name)


@pytest.mark.parametrize(
    "inputs, features, message",
    [
        (
            {"input_layer": X},
            {"x": X, "clicked": N, "bought": N},
            "say --label NAME, one of clicked, bought; the model takes input_layer",
        ),
        ({"input_layer": X}, {**WIDE, "d": R}, "say --label NAME, one of a, b, c, d; "),  # any of four columns may be it
        ({"input_layer": X}, {"x": X}, "say --label NAME, one of x; the model takes"),
    ],
)
def test_a_label_is_not_guessed(inputs, features, message):
    with pytest.raises(JobError) as caught:
        reading(inputs, features)
    assert message in str(caught.value)


COLUMNS = {"x": {"dtype": "float32", "columns": ["a", "b", "c"]}}


@pytest.mark.parametrize(
    "inputs, features, declarations",
    [
        ({"input_layer": X}, {"x": X, "label": N}, {}),
        ({"input_layer": X}, {**WIDE, "label": N}, COLUMNS),
        ({"input_layer": X}, {**WIDE, "city": T, "id": N, "label": N}, COLUMNS),  # neither text nor the number of an example
        ({"input_layer": X}, {**WIDE, "d": R, "label": N}, {}),  # one too many: binding says what there is
        ({"input_layer": Feature("int64", (1,))}, {"b": N, "c": R, "label": N}, {"x": {"dtype": "int64", "columns": ["b"]}}),
        (
            {"b": Feature("float32", (1,)), "x": X},
            {**WIDE, "x": X, "label": N},
            {"b_columns": {"dtype": "float32", "columns": ["b"]}},
        ),
        ({"i": Feature("float32", (8, 8, 3))}, {"image": IMAGE, "label": N}, {}),
        ({"i": ANY_SIZE}, {"image": IMAGE, "label": N}, {"image": {"dtype": "float32", "shape": [224, 224, 3], "image": True}}),
        (
            {"i": Feature("uint8", (8, 8, 1))},
            {"jpeg": T, "note": T, "label": N},
            {"jpeg": {"dtype": "uint8", "shape": [8, 8, 1], "image": True}},
        ),
        (
            {"i": Feature("int32", (5,))},
            {"tokens": Feature("int64", (None,)), "label": N},
            {"tokens": {"dtype": "int64", "shape": [5], "pad": 0}},
        ),
    ],
)
def test_what_binding_cannot_know_is_declared(inputs, features, declarations):
    chosen = reading(inputs, features, pictures={"jpeg"})
    assert (chosen.declarations, chosen.label) == (declarations, "label")
    assert set(chosen.reasons) == set(declarations)


def test_a_label_that_is_not_there_names_the_nearest():
    with pytest.raises(JobError, match="--label: the data has no feature 'lable': did you mean 'label'"):
        reading({"input_layer": X}, {"x": X, "label": N}, label="lable")
    assert reading({"input_layer": X}, {"x": X, "label": N}, label="label > 0").label == "label > 0"


def test_whole_records_need_nothing_declared():
    chosen = reading({"examples": T}, {"x": X, "answer": Feature("int64", (1,))}, parsed=True)
    assert (chosen.label, chosen.declarations) == ("answer", {})


def test_inputs_that_features_are_made_for_are_bound_by_name():
    one = Feature("float32", (1,))
    chosen = reading({"a": one, "c": one, "x": X}, {**WIDE, "v": X, "label": N})
    assert {name: spec["columns"] for name, spec in chosen.declarations.items()} == {"a_columns": ["a"], "c_columns": ["c"]}
    assert chosen.inputs == {"a": "a_columns", "c": "c_columns", "x": "v"}


@pytest.mark.parametrize("index", ["", "Unnamed: 0", "__index_level_0__"])
def test_numbers_of_lines_are_neither_inputs_nor_labels(index):
    chosen = reading({"input_layer": X}, {index: N, "a": R, "b": R, "c": R, "species": T})
    assert chosen.label == "species"
    assert chosen.declarations == {"x": {"dtype": "float32", "columns": ["a", "b", "c"]}}
    named = reading({"input_layer": X}, {index: N, "a": R, "b": R, "c": R, "y": N})
    assert (named.label, named.declarations["x"]["columns"]) == ("y", ["a", "b", "c"])

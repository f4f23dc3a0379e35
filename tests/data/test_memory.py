"""Examples that Python hands over: named, counted, read from anywhere, and refused where they are not the same twice."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from harness.data import open_source
from harness.data.memory import DatasetSource, from_arrays, named
from harness.errors import DataError, JobError

X = np.arange(46, dtype=np.float32).reshape(23, 2)
Y = np.arange(23, dtype=np.int64)


@pytest.mark.parametrize(
    ("given", "names", "inputs", "label", "weight"),
    [
        ((X, Y), ["x", "label"], ("x",), "label", None),
        ((X, Y, Y), ["x", "label", "weight"], ("x",), "label", "weight"),
        (((X, Y), Y), ["x0", "x1", "label"], ("x0", "x1"), "label", None),
        (({"a": X}, {"b": Y}), ["a", "b"], None, None, None),
        ({"a": X, "b": Y}, ["a", "b"], None, None, None),
        (X, ["x"], ("x",), None, None),
    ],
)
def test_parts_have_names(given, names, inputs, label, weight):
    found = named(given)
    assert (list(found.values), found.inputs, found.label, found.weight) == (names, inputs, label, weight)


def test_parts_that_make_no_sense_are_refused():
    with pytest.raises(JobError, match="found a tuple of 4"):
        named((X, X, X, X))
    with pytest.raises(JobError, match="more than one part is called label"):
        named(({"label": X}, Y))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": X, "y": Y[:3]}, r"arrays of one length, found x: float32 \[23, 2\], y: int64 \[3\]"),
        ({"x": np.float32(1)}, "one value per example"),
        ({}, "found none"),
        ({"x": np.array([{}, {}])}, "found objects"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(JobError, match=message):
        from_arrays(values)


def test_the_digest_of_arrays_is_that_of_their_contents():
    marks = [from_arrays(values)[1] for values in ({"x": X}, {"x": X + 0}, {"x": X[::-1]}, {"y": X}, {"x": X.astype("f8")})]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 4
    texts = [from_arrays({"t": np.array(t, object)})[1] for t in (["a", "b"], [b"a", b"b"], ["a", "c"])]
    assert texts[0] == texts[1] != texts[2]


def test_texts_keep_their_zeros():
    source, _ = from_arrays({"t": np.array(["a", b"b\0"], object)})
    assert next(source.read(0, 2, 2)).raw["t"].tolist() == [b"a", b"b\0"]
    assert source.features()["t"].dtype == "string"


PLAIN = tf.data.Dataset.from_tensor_slices((X, Y))
FORMS = {
    "examples": PLAIN,
    "even batches": PLAIN.batch(5),
    "one batch": PLAIN.batch(23),
    "uneven batches": PLAIN.take(4).batch(3).concatenate(PLAIN.skip(4).batch(7)),
    "empty batches": PLAIN.take(0).batch(4).concatenate(PLAIN.batch(6)),
    "of unknown size": PLAIN.filter(lambda x, y: True),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_run_of_examples_is_what_lies_there(form):
    source, parts = DatasetSource.open(FORMS[form], None)
    assert parts.label == "label"
    assert [file.examples for file in source.files] == [23]
    # Onwards from where the last read ended, back, across batches, nothing, all.
    for start, stop, size in ((0, 1, 1), (1, 9, 4), (9, 23, 5), (3, 8, 64), (0, 23, 64), (22, 23, 1), (7, 7, 2)):
        read = list(source.read(start, stop, size))
        assert all(1 <= len(records.ids) <= size for records in read)
        ids = np.concatenate([np.zeros(0, int), *(records.ids for records in read)])
        assert ids.tolist() == list(range(start, stop))
        for records in read:
            np.testing.assert_array_equal(records.raw["x"], X[records.ids])
            np.testing.assert_array_equal(records.raw["label"], Y[records.ids])


def test_the_spec_must_tell_what_elements_are():
    with pytest.raises(JobError, match="say batched=True or batched=False"):
        DatasetSource.open(PLAIN.batch(4, drop_remainder=True), None)
    source, _ = DatasetSource.open(PLAIN.batch(4, drop_remainder=True), True)
    assert source.files[0].examples == 20
    assert source.features()["x"].shape == (2,)
    with pytest.raises(JobError, match="never ends"):
        DatasetSource.open(PLAIN.repeat(), None)
    with pytest.raises(JobError, match="expected a dense tensor"):
        DatasetSource.open(tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3]])), None)


def test_a_dataset_that_is_not_the_same_twice_is_refused():
    source, _ = DatasetSource.open(PLAIN.shuffle(23, seed=3), None)
    with pytest.raises(DataError, match="other examples when it was read a second time"):
        source.head()
    fixed, _ = DatasetSource.open(PLAIN.shuffle(23, seed=3, reshuffle_each_iteration=False), None)
    assert fixed.head() == fixed.head()


def test_a_dataset_that_ends_elsewhere_is_refused():
    count = [23]
    changing = tf.data.Dataset.from_generator(
        lambda: ((X[i % 23], Y[i % 23]) for i in range(count[0])),
        output_signature=(tf.TensorSpec([2]), tf.TensorSpec([], tf.int64)),
    )
    source, _ = DatasetSource.open(changing, None)
    count[0] = 20
    with pytest.raises(DataError, match="it ended at example 20, and had 23 when it was counted"):
        list(source.read(0, 23, 4))
    count[0] = 23
    longer, _ = DatasetSource.open(changing, None)
    count[0] = 24
    with pytest.raises(DataError, match="it goes on after example 22"):
        list(longer.read(16, 23, 4))


def test_a_job_file_cannot_ask_for_memory():
    with pytest.raises(JobError, match="a job file names files"):
        open_source("memory", [])

"""What a Python generator yields, as a dataset: the same elements as TensorFlow's own way of doing it."""

import gc

import numpy as np
import pytest
import tensorflow as tf

from harness.step.host_dataset import host_dataset

SIGNATURE = {
    "text": tf.TensorSpec([None, 2], tf.string),
    "number": tf.TensorSpec([None], tf.float32),
    "nested": {"flag": tf.TensorSpec([], tf.bool), "id": tf.TensorSpec([None], tf.int64)},
}


def elements():
    for count in (1, 0, 3):
        yield {
            "text": np.array([[b"a\0", b"\xff" * count]] * count, object).reshape(count, 2),
            "number": np.linspace(0, 1, count, dtype=np.float32),
            "nested": {"flag": np.bool_(count > 1), "id": np.arange(count)},
        }


def swapped():
    yield np.array([1, 2], ">i4")
    yield np.array([], ">i4")


def texts():
    yield np.array(["ä", "", "日本"])
    yield np.array([b"abc", b"", b"\xff"])
    yield np.array(["ä", b"b"], object)
    yield np.array([], object)


def values(dataset):
    return [[array.tolist() for array in tf.nest.flatten(element)] for element in dataset.as_numpy_iterator()]


@pytest.mark.parametrize(
    ("generate", "signature"),
    [(elements, SIGNATURE), (texts, tf.TensorSpec([None], tf.string)), (swapped, tf.TensorSpec([None], tf.int32))],
)
def test_elements_are_those_of_from_generator(generate, signature):
    theirs = tf.data.Dataset.from_generator(generate, output_signature=signature)
    ours = host_dataset(generate, signature)
    assert ours.element_spec == theirs.element_spec
    assert values(ours) == values(theirs)
    assert values(ours.prefetch(1).repeat(2)) == 2 * values(theirs)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros([2, 3], np.float32), r"expected an array of shape \(None, 2\), found \(2, 3\)"),
        (np.zeros(2, np.float32), r"expected an array of shape \(None, 2\), found \(2,\)"),
        (np.zeros([2, 2], np.float64), "double"),
        (np.array([["a", "b"]], object), "string"),
    ],
)
def test_an_array_of_another_dtype_or_shape_is_refused(array, message):
    dataset = host_dataset(lambda: iter([array]), tf.TensorSpec([None, 2], tf.float32))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        next(iter(dataset))


def test_a_generator_that_fails_ends_the_dataset_after_what_it_yielded():
    def generate():
        yield np.int64(1)
        raise OSError("the disk is gone")

    iterator = iter(host_dataset(generate, tf.TensorSpec([], tf.int64)))
    assert next(iterator).numpy() == 1
    with pytest.raises(tf.errors.OpError, match="the disk is gone"):
        next(iterator)


def test_each_iterator_has_its_own_generator_and_closes_it():
    begun, ended = [], []

    def generate():
        number = len(begun)
        begun.append(number)
        try:
            while True:
                yield np.int64(number)
        finally:
            ended.append(number)

    dataset = host_dataset(generate, tf.TensorSpec([], tf.int64))
    first, second = iter(dataset), iter(dataset)
    assert [next(iterator).numpy() for iterator in (first, second, first)] == [0, 1, 0]
    del first
    gc.collect()
    assert (begun, ended) == ([0, 1], [0])
    assert next(second).numpy() == 1
    del second
    gc.collect()
    assert ended == [0, 1]

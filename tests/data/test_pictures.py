"""Encoded images as numbers, one by one and as a batch."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from harness.data import Feature, pictures
from harness.data.source import Kind

SIZES = {"alike": [(6, 5)] * 4, "one is larger": [(6, 5), (9, 7), (6, 5)], "one": [(3, 3)], "none": []}


def encoded(sizes: list[tuple[int, int]], channels: int) -> list[bytes]:
    rng = np.random.default_rng(4)
    kinds = (tf.io.encode_png, tf.io.encode_jpeg)
    return [
        kinds[number % 2](rng.integers(0, 256, (*size, channels), dtype=np.uint8)).numpy() for number, size in enumerate(sizes)
    ]


def one(data: bytes, dtype: str, channels: int) -> np.ndarray:
    """What is promised: pixels, resized where the size is another, rounded where the numbers are whole."""
    image = tf.cast(tf.io.decode_image(data, channels=channels, expand_animations=False), tf.float32)
    if image.shape[:2] != (6, 5):
        image = tf.image.resize(image, [6, 5])
    return tf.cast(image if tf.as_dtype(dtype).is_floating else tf.round(image), dtype).numpy()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8", "int32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_holds_what_each_image_does(sizes, dtype, channels):
    images = encoded(SIZES[sizes], channels)
    feature = Feature(dtype, (6, 5, channels), Kind.IMAGE)
    graph = tf.function(lambda batch: pictures.decode(batch, feature), autograph=False)
    found = graph(tf.constant(images, tf.string)).numpy()
    expected = np.stack([one(data, dtype, channels) for data in images]) if images else np.zeros([0, 6, 5, channels], dtype)
    assert found.dtype == expected.dtype and found.shape == expected.shape and np.array_equal(found, expected)

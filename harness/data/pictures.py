"""Encoded images: JPEG, PNG, GIF (its first frame) and BMP to numbers of one shape, in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.data.source import Feature

__all__ = ["broken", "decode"]


def decode(encoded: Any, feature: Feature) -> Any:
    """Decode a batch of images, and resize each that has another size.

    Args:
      encoded: string [B].
      feature: dtype, and shape (height, width, channels).
    Returns: [B, height, width, channels], from 0 to 255; resized bilinearly, without antialiasing, as Keras does.
    """
    import tensorflow as tf

    height, width, channels = feature.shape
    dtype = tf.as_dtype(feature.dtype)

    def sized(image: Any) -> Any:
        resized = tf.image.resize(image, [height, width], method="bilinear")
        return tf.cast(resized if dtype.is_floating else tf.round(resized), dtype)

    def decode_one(at: Any, images: Any, alike: Any) -> tuple[Any, Any, Any]:
        image = tf.io.decode_image(encoded[at], channels=channels or 0, expand_animations=False)
        return at + 1, images.write(at, image), alike & tf.reduce_all(tf.shape(image)[:2] == [height, width])

    count = tf.shape(encoded)[0]
    # Bytes until all are there: where none has to be resized, a batch is copied and converted once.
    images = tf.TensorArray(tf.uint8, count, infer_shape=False, element_shape=[None, None, channels])
    _, images, alike = tf.while_loop(lambda at, *_: at < count, decode_one, (0, images, count > 0))
    batch = tf.cond(
        alike,
        lambda: tf.cast(images.stack(), dtype),
        lambda: tf.map_fn(lambda at: sized(images.read(at)), tf.range(count), fn_output_signature=dtype),
    )
    return tf.ensure_shape(batch, [*encoded.shape[:1], height, width, channels])


def broken(raw: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Say which images cannot be decoded, bool [n]; those are replaced by one that can."""
    import tensorflow as tf

    images = raw[name]
    bad = np.zeros(len(images), bool)
    for at, data in enumerate(images):
        try:
            tf.io.decode_image(data, expand_animations=False)
        except tf.errors.OpError:
            bad[at] = True
    if bad.any():
        images = images.copy()
        images[bad] = tf.io.encode_png(np.zeros([1, 1, 3], np.uint8)).numpy()
        raw[name] = images
    return bad

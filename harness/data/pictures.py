"""Encoded images: JPEG, PNG, GIF (its first frame) and BMP to numbers of one shape, in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.data.source import Feature

__all__ = ["THUMBNAIL", "broken", "decode", "is_picture", "thumbnail"]

THUMBNAIL = 96  # pixels of its longer side, at most
LEAST_GRAY = 16  # of a side of a picture without channels: smaller squares of numbers are mostly something else


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


def is_picture(shape: tuple[int | None, ...]) -> bool:
    """Say whether numbers of a shape are taken for a picture: with 1, 3 or 4 channels, or a square without.

    >>> [is_picture(shape) for shape in ((28, 28), (28, 28, 1), (224, 224, 3), (8, 8), (128, 64), (5,))]
    [True, True, True, False, False, False]
    """
    if len(shape) == 2:
        return shape[0] == shape[1] and (shape[0] or 0) >= LEAST_GRAY
    return len(shape) == 3 and shape[2] in (1, 3, 4) and None not in shape and 0 not in shape


def thumbnail(picture: np.ndarray) -> bytes:
    """Return a small PNG of what a model saw; its longer side has at most THUMBNAIL pixels.

    uint8, and numbers from 0 to 255, are taken as they are, numbers from 0 to 1 are stretched by 255, others from the least to
    the largest of them. What is not finite is black.

    Args:
      picture: [height, width] or [height, width, channels].
    """
    import tensorflow as tf

    pixels = np.nan_to_num(picture.reshape(*picture.shape[:2], -1).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(pixels.min()), float(pixels.max())
    if picture.dtype != np.uint8 and low >= 0 and high <= 1:
        pixels = pixels * 255
    elif low < 0 or high > 255:
        pixels = (pixels - low) * (255 / ((high - low) or 1))
    step = -(-max(pixels.shape[:2]) // THUMBNAIL)
    rows, columns = (np.arange(0, size, step) for size in pixels.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(pixels, rows, axis=0), columns, axis=1)
    counts = np.outer(*(np.diff(np.append(starts, size)) for starts, size in zip((rows, columns), pixels.shape[:2], strict=True)))
    shrunk = np.rint(sums / counts[:, :, None]).astype(np.uint8)
    png: bytes = tf.io.encode_png(shrunk).numpy()
    return png

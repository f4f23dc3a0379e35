"""SplitMix64 in the TensorFlow graph; see `splitmix`. uint64 arithmetic wraps, as it has to."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from harness.exact import splitmix

__all__ = ["hash_ids", "mix", "outputs"]


def mix(words: Any) -> Any:
    """Mix the bits of 64-bit words, uint64 [...]; see `splitmix.mix`.

    >>> hex(mix(tf.constant([splitmix.INCREMENT], tf.uint64)).numpy()[0])
    '0xe220a8397b1dcdaf'
    """
    for shift, factor in splitmix.FOLDS:
        words = _fold(words, shift) * tf.constant(factor, tf.uint64)
    return _fold(words, splitmix.LAST_SHIFT)


def outputs(states: Any, count: int) -> Any:
    """Return the first outputs of generators with states uint64 [n], as uint64 [n, count]; see `splitmix.outputs`.

    >>> outputs(tf.constant([1234567], tf.uint64), 3).numpy().tolist()
    [[6457827717110365317, 3203168211198807973, 9817491932198370423]]
    """
    return mix(states[:, None] + tf.constant(splitmix.steps(count)))


def hash_ids(ids: Any) -> Any:
    """Hash example ids, int64 [...], as signed int64 [...]; see `splitmix.hash_ids`.

    >>> [hex(h % 2**64) for h in hash_ids(tf.constant([0, 1], tf.int64)).numpy().tolist()]
    ['0xe220a8397b1dcdaf', '0x6e789e6aa1b965f4']
    """
    words = (tf.bitcast(ids, tf.uint64) + tf.constant(1, tf.uint64)) * tf.constant(splitmix.INCREMENT, tf.uint64)
    return tf.bitcast(mix(words), tf.int64)


def _fold(words: Any, shift: int) -> Any:
    return tf.bitwise.bitwise_xor(words, tf.bitwise.right_shift(words, tf.constant(shift, tf.uint64)))

"""The canary batch, and the digest of weights: equal contents give equal hashes, also of strings, whose arrays hold pointers."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from harness.data import Feature
from harness.data.memory import from_arrays
from harness.models.python_objects import digest
from harness.step.canary import Canary

pytestmark = pytest.mark.slow

WORDS = [b"cat", b"", b"dog\0", b"cat"]
X = np.array([0, 1, 2, 3], np.int64)
WANTED = {"x": Feature("int64", ())}


def canary(table: list[bytes]) -> Canary:
    source, _ = from_arrays({"x": X})
    return Canary(lambda features: {"word": tf.gather(tf.constant(table), features["x"])}, source, WANTED, 4)


def by_hand(*strings: bytes) -> int:
    """The hash of strings with their lengths before them, so that no two lists of strings are alike."""
    total = hashlib.sha256(b"".join(len(s).to_bytes(8, "little") + s for s in strings))
    return int.from_bytes(total.digest()[:8], "little", signed=True)


def test_strings_are_hashed_by_what_they_hold():
    predicted = canary(WORDS)
    kept = [predicted.predict(predicted.features)["word"].numpy() for _ in range(3)]  # so that no address is used again
    assert {predicted() for _ in range(3)} == {by_hand(*WORDS)}
    assert canary(WORDS)() == by_hand(*WORDS) != canary([b"cat", b"", b"dog", b"cat"])()
    assert canary([b"c", b"at", b"", b""])() != canary([b"ca", b"t", b"", b""])()
    del kept


def test_numbers_are_hashed_as_before():
    source, _ = from_arrays({"x": X})
    numbers = Canary(lambda features: {"b": features["x"] * 2, "a": features["x"]}, source, WANTED, 4)
    wanted = hashlib.sha256(X.tobytes() + (X * 2).tobytes()).digest()[:8]
    assert numbers() == int.from_bytes(wanted, "little", signed=True)


def test_weights_that_are_strings_have_the_digest_of_their_contents():
    one, same = (digest([tf.Variable([b"a", b"b" * 300]), tf.Variable(b"scalar")]) for _ in range(2))
    assert one == same
    assert one != digest([tf.Variable([b"a", b"b" * 299]), tf.Variable(b"scalar")])
    assert one != digest([tf.Variable([b"a", b"b" * 300]), tf.Variable(b"other")])


def test_the_digest_of_numbers_is_that_of_their_bytes():
    marks = [
        hashlib.sha256(b"float32(2,)" + np.float32([1, 2]).tobytes()),
        hashlib.sha256(b"int64(1,)" + np.int64([7]).tobytes()),
    ]
    wanted = hashlib.sha256("".join(mark.hexdigest() for mark in marks).encode()).hexdigest()
    assert digest([tf.Variable(np.float32([1, 2])), tf.Variable(np.int64(7))]) == wanted

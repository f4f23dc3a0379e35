"""Exact validation while Keras trains, alone: what it writes into logs, when, and what reads it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import harness
from tests import made

pytestmark = pytest.mark.slow

EXAMPLES = made.examples()


def model() -> keras.Model:
    keras.utils.set_random_seed(3)
    found = keras.Sequential([keras.Input((8,)), keras.layers.BatchNormalization(), keras.layers.Dense(5, activation="softmax")])
    found.compile("adam", "sparse_categorical_crossentropy")
    return found


def test_numbers_are_in_the_logs_and_others_read_them(tmp_path):
    trained = model()
    validation = harness.ExactValidation(
        (EXAMPLES.x, EXAMPLES.label), ["accuracy", {"recall": {"average": None}}, "confusion_matrix"], classes=list("abcde")
    )
    best = tmp_path / "best.keras"
    callbacks = [
        validation,
        keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=0, min_delta=1.0),
        keras.callbacks.ModelCheckpoint(best, "val_accuracy", mode="max", save_best_only=True),
    ]
    history = trained.fit(EXAMPLES.x, EXAMPLES.label, epochs=5, callbacks=callbacks, verbose=0).history
    # patience 0 and a gain that cannot be had: it stops after the second epoch
    assert len(history["val_accuracy"]) == 2
    assert set(history) == {"loss", "val_accuracy", *(f"val_recall/{name}" for name in "abcde")}
    assert [found["accuracy"] for found in validation.results] == history["val_accuracy"]
    saved = keras.models.load_model(best)
    right = np.argmax(saved.predict(EXAMPLES.x, verbose=0), axis=1) == EXAMPLES.label
    assert max(history["val_accuracy"]) == right.mean()


def test_every_so_many_epochs_under_a_name_of_ones_own():
    validation = harness.ExactValidation((EXAMPLES.x, EXAMPLES.label), ["accuracy"], prefix="exact_", every=2)
    history = model().fit(EXAMPLES.x, EXAMPLES.label, epochs=4, callbacks=[validation], verbose=0).history
    assert len(validation.results) == len(history["exact_accuracy"]) == 2
    assert "val_accuracy" not in history


def test_the_loop_is_built_once(monkeypatch):
    from harness.step import build as tf_build

    built = []
    right = tf_build.compile_step
    monkeypatch.setattr(tf_build, "compile_step", lambda *args, **options: built.append(1) or right(*args, **options))
    validation = harness.ExactValidation((EXAMPLES.x, EXAMPLES.label), ["accuracy", "cross_entropy"])
    history = model().fit(EXAMPLES.x, EXAMPLES.label, epochs=4, callbacks=[validation], verbose=0).history
    assert len(built) == 1
    assert len(set(history["val_cross_entropy"])) == 4  # of the weights of each epoch


def test_what_is_wrong_with_it_ends_the_training():
    validation = harness.ExactValidation((EXAMPLES.x, EXAMPLES.label), ["acuracy"])
    with pytest.raises(harness.errors.JobError, match="did you mean 'accuracy'"):
        model().fit(EXAMPLES.x, EXAMPLES.label, epochs=1, callbacks=[validation], verbose=0)

"""The example of training: real gradients over Horovod, and validation on all ranks that is that of the whole model on all data."""

from __future__ import annotations

import json
import sys

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.conftest import ROOT, over_ranks, start

pytestmark = pytest.mark.ranks


def test_all_ranks_see_the_exact_numbers_while_they_train(tmp_path):
    argv = [sys.executable, "examples/python/train.py", tmp_path]
    done = start(over_ranks(2, "mpi", argv), ROOT, {"HARNESS_THREADS": "1"})
    assert done.code == 0, done.text
    first, second = (json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2))
    accuracies = first["history"]["val_accuracy"]
    assert second["history"]["val_accuracy"] == accuracies and second["last"] == first["last"]
    assert first["last"]["certificate"]["examples"] == 797
    # An oracle: what the checkpoint of the best epoch says of all 797 digits, in plain Keras and NumPy.
    digits = load_digits()
    best = keras.models.load_model(tmp_path / "best.keras", compile=False, custom_objects={"Distributed": keras.Sequential})
    images = (digits.images[1000:] / 16.0).astype("float32")[..., None]
    right = np.argmax(best.predict(images, verbose=0), axis=1) == digits.target[1000:]
    assert max(accuracies) == right.sum() / 797
    assert max(accuracies) > 0.6  # it learns
    assert "the weights differ" not in done.text

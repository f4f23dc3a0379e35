"""Train on all ranks with Horovod, and validate on all ranks, exactly, at the end of every epoch.

    python examples/python/train.py LOGS
    horovodrun -np 2 python examples/python/train.py LOGS

Horovod's own Keras callbacks and optimizers are of Keras 2; with Keras 3 its gradient tape does the same, in a `train_step`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import horovod.tensorflow as hvd
import keras
import tensorflow as tf
from sklearn.datasets import load_digits

import harness

EPOCHS, TRAINED, BATCH = 4, 1000, 50


class Distributed(keras.Sequential):
    """A model whose gradients are averaged over all ranks."""

    def train_step(self, data: Any) -> dict[str, Any]:
        """Train on one batch of this rank's share."""
        x, y = data
        with hvd.DistributedGradientTape(tf.GradientTape()) as tape:
            predicted = self(x, training=True)
            loss = self.compute_loss(x, y, predicted)
        variables = [variable.value for variable in self.trainable_variables]  # Horovod knows TensorFlow's, not Keras's
        self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), self.trainable_variables, strict=True))
        return {**self.compute_metrics(x, y, predicted), "loss": loss}


def main(out: Path) -> None:
    """Train, and leave the logs of every rank in a folder."""
    hvd.init()
    keras.utils.set_random_seed(1 + hvd.rank())  # ranks begin with other weights, as they do without a seed
    digits = load_digits()
    images, labels = (digits.images / 16.0).astype("float32")[..., None], digits.target.astype("int64")

    model = Distributed(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    hvd.broadcast_variables([variable.value for variable in model.variables], root_rank=0)

    # Training data are shared out by the script; validation data are given whole, to every rank.
    training = tf.data.Dataset.from_tensor_slices((images[:TRAINED], labels[:TRAINED])).shard(hvd.size(), hvd.rank())
    validation = harness.ExactValidation((images[TRAINED:], labels[TRAINED:]), ["accuracy", "cross_entropy"])
    # What reads val_accuracy comes after what writes it. All ranks read the same numbers, and so stop at the same epoch.
    stopping = keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=1, restore_best_weights=True)
    out.mkdir(parents=True, exist_ok=True)
    callbacks = [validation, stopping]
    if hvd.rank() == 0:
        callbacks.append(keras.callbacks.ModelCheckpoint(out / "best.keras", "val_accuracy", mode="max", save_best_only=True))
    history = model.fit(training.batch(BATCH), epochs=EPOCHS, callbacks=callbacks, verbose=2 if hvd.rank() == 0 else 0)

    last = validation.results[-1]
    print(f"rank {hvd.rank()}: {last}", flush=True)
    (out / f"rank-{hvd.rank()}.json").write_text(json.dumps({"history": history.history, "last": last.document}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

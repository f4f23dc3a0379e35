"""One worker of a peer: a process of MultiWorkerMirroredStrategy, or a rank of the usual Horovod recipe.

    python -m benchmarks.peers_worker mwms|recipe CASE FOLDER EXAMPLES OUT.json

makes a pass to warm up and one that counts, whose seconds and values the first worker writes to OUT.json.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, CLASSES
from benchmarks.launched import mapped

__all__ = ["PEERS"]

UNEVEN = 0.3  # of the examples are the last worker's share in the recipe that is shown to be wrong


def _mwms(case: str, folder: Path, examples: int, out: Path) -> None:
    """One worker of MultiWorkerMirroredStrategy."""
    import tensorflow as tf

    _one_thread()
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    import tf_keras

    from benchmarks import keras_metrics as own

    forward, image, label = _loaded(case, folder, examples)
    size = CASES[case].batch_size * strategy.num_replicas_in_sync
    whole = tf.data.Dataset.from_generator(
        lambda: ((image[at : at + size], label[at : at + size]) for at in range(0, examples, size)),
        output_signature=(tf.TensorSpec([None, *image.shape[1:]], image.dtype), tf.TensorSpec([None], tf.int32)),
    )
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = strategy.experimental_distribute_dataset(whole.with_options(options).prefetch(4))
    with strategy.scope():
        accuracy = tf_keras.metrics.SparseCategoricalAccuracy()
        top = tf_keras.metrics.SparseTopKCategoricalAccuracy(3)
        loss = tf_keras.metrics.SparseCategoricalCrossentropy()
        matrix = tf.Variable(
            tf.zeros([CLASSES, CLASSES], tf.int64),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step(images: Any, labels: Any) -> None:
        scores = forward(images)
        for metric in (accuracy, top, loss):
            metric.update_state(labels, scores)
        matrix.assign_add(tf.math.confusion_matrix(labels, tf.argmax(scores, -1), CLASSES, dtype=tf.int64))

    @tf.function
    def loop() -> None:
        for images, labels in batches:
            strategy.run(step, args=(images, labels))

    def run() -> dict[str, float]:
        for metric in (accuracy, top, loss):
            metric.reset_state()
        matrix.assign(tf.zeros_like(matrix))
        loop()
        table_ = np.asarray(matrix.read_value())
        found = {"accuracy": accuracy, "top_k": top, "cross_entropy": loss}
        return {**{name: float(metric.result()) for name, metric in found.items()}, **own.shares(table_)}

    _timed(run, out, index == 0)


def _recipe(case: str, folder: Path, examples: int, out: Path) -> None:
    """One rank of the usual recipe: evaluate a shard with Keras, average what the ranks report."""
    import horovod.tensorflow as hvd
    import tensorflow as tf

    hvd.init()
    _one_thread()
    import keras

    from benchmarks import keras_metrics as own

    _, keras_file, _ = CASES[case].files(folder)
    model = keras.saving.load_model(keras_file, compile=False)
    place = mapped(case, folder, examples)
    image, label = (np.load(place / f"{name}.npy", mmap_mode="r") for name in ("image", "label"))
    # Uneven shards, as files of unlike size give them; the last rank has the smallest share.
    cut = int(examples * (1 - UNEVEN)) if hvd.size() == 2 else examples * (hvd.rank() + 1) // hvd.size()
    start, stop = (0, cut) if hvd.rank() == 0 else (cut, examples)
    size = CASES[case].batch_size
    dataset = tf.data.Dataset.from_generator(
        lambda: ((image[at : min(at + size, stop)], label[at : min(at + size, stop)]) for at in range(start, stop, size)),
        output_signature=(tf.TensorSpec([None, *image.shape[1:]], image.dtype), tf.TensorSpec([None], tf.int32)),
    )
    # Of a dataset whose length it does not know, Keras 3.15 counts one batch too many: that error is not the recipe's.
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(-(-(stop - start) // size))).prefetch(4)
    metrics = [
        keras.metrics.SparseCategoricalAccuracy(name="accuracy"),
        keras.metrics.SparseTopKCategoricalAccuracy(3, name="top_k"),
        own.ConfusionMatrix(CLASSES, name="confusion_matrix"),
    ]
    model.compile(loss="sparse_categorical_crossentropy", metrics=metrics)

    def run() -> dict[str, float]:
        found = model.evaluate(dataset, verbose=0, return_dict=True)
        mine = {"accuracy": found["accuracy"], "top_k": found["top_k"], "cross_entropy": found["loss"]}
        mine |= own.shares(np.asarray(metrics[2].table))
        return {name: float(hvd.allreduce(tf.constant(float(value), tf.float64))) for name, value in mine.items()}

    _timed(run, out, hvd.rank() == 0)


def _timed(run: Callable[[], dict[str, float]], out: Path, first: bool) -> None:
    """Make a pass to warm up and one that counts; the first worker writes it down."""
    run()
    start = time.monotonic()
    values = run()
    elapsed_s = time.monotonic() - start
    if first:
        known = {name: None if math.isnan(value) else value for name, value in values.items()}
        out.write_text(json.dumps({"seconds": elapsed_s, "values": known}))


def _loaded(case: str, folder: Path, examples: int) -> tuple[Callable[[Any], Any], np.ndarray, np.ndarray]:
    """Return the forward pass of the SavedModel, images and labels."""
    import tensorflow as tf

    saved, _, _ = CASES[case].files(folder)
    place = mapped(case, folder, examples)
    loaded = tf.saved_model.load(str(saved))
    signature = loaded.signatures["serving_default"]
    (name,), (output,) = signature.structured_input_signature[1], signature.structured_outputs
    image, label = (np.load(place / f"{array}.npy", mmap_mode="r") for array in ("image", "label"))

    def forward(images: Any, model: Any = loaded) -> Any:  # the model is held, else its variables go
        del model
        return signature(**{name: images})[output]

    return forward, image, label


def _one_thread() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)


PEERS: Mapping[str, Callable[[str, Path, int, Path], None]] = {"mwms": _mwms, "recipe": _recipe}

if __name__ == "__main__":
    _, peer_, case_, folder_, examples_, out_ = sys.argv
    PEERS[peer_](case_, Path(folder_), int(examples_), Path(out_))

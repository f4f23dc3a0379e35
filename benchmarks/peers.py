"""The harness on some ranks against what people use otherwise: MultiWorkerMirroredStrategy, and the usual Horovod recipe.

The same model, examples in mapped arrays, batch size and metrics, one thread a worker, turn by turn. A peer's time is that
of its second pass, compiled and warm; the harness's that of its only one. Keras 3's own `evaluate` raises under the
strategy, so that peer is a `strategy.run` loop in one tf.function with tf_keras metrics; precision, recall and F1 come from
one confusion matrix, which is less work than three metrics.

    python -m benchmarks.peers mwms|recipe CASE FOLDER EXAMPLES OUT.json

is one worker of a peer.
"""

from __future__ import annotations

import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES, CLASSES
from benchmarks.launched import TIMEOUT_S, job_of, launch, launched_environment, mapped

__all__ = ["PEERS", "Peers", "measure", "table"]

UNEVEN = 0.3  # of the examples are the last worker's share in the recipe that is shown to be wrong
TOLERANCE = 1e-4  # Keras sums in float32


@dataclass(frozen=True)
class Peers:
    """Seconds of the loop by round and leg, and the values each reported."""

    case: str
    examples: int
    ranks: int
    seconds: Mapping[str, list[float]]
    values: Mapping[str, Mapping[str, float | None]]

    def ratio(self, peer: str) -> float:
        """How many times as fast the harness is: the median over the rounds."""
        return statistics.median(b / a for a, b in zip(self.seconds["harness"], self.seconds[peer], strict=True))

    def error(self, peer: str) -> float:
        """The largest difference of a value from the harness's, of those that it has."""
        own, other = self.values["harness"], self.values[peer]
        return max(abs(own[name] - other[name]) for name in own.keys() & other.keys() - self.undefined(peer))

    def undefined(self, peer: str) -> set[str]:
        """The values that are NaN: an average with a rank on which a class does not occur."""
        return {name for name, value in self.values[peer].items() if value is None}

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        peers = [peer for peer in self.seconds if peer != "harness"]
        return {
            "case": self.case, "examples": self.examples, "ranks": self.ranks, "seconds": self.seconds, "values": self.values,
            "ratio": {peer: self.ratio(peer) for peer in peers}, "error": {peer: self.error(peer) for peer in peers},
        }  # fmt: skip


def measure(case: str, folder: Path, *, examples: int, ranks: int, rounds: int) -> Peers:
    """Measure a case; every other round goes backwards.

    Raises: RuntimeError: a run failed, or the strategy reports other values. The recipe's are shown, not held against it.
    """
    place = folder / "peers"
    found = Peers(case, examples, ranks, {"harness": [], **{peer: [] for peer in PEERS}}, {})
    values: dict[str, Mapping[str, float | None]] = {}
    job = job_of(case, folder, examples)

    def ours() -> None:
        run = launch(job, place, ranks)
        found.seconds["harness"].append(run.loop_s + max(rank["reduce"] for rank in run.seconds))
        metrics = json.loads((place / "run" / "metrics.json").read_text())["metrics"]
        values["harness"] = {key: entry["value"] for key, entry in metrics.items() if isinstance(entry["value"], float)}

    def theirs(peer: str) -> Callable[[], None]:
        def turn() -> None:
            answer = _start(peer, case, folder, examples, ranks)
            found.seconds[peer].append(answer["seconds"])
            values[peer] = answer["values"]

        return turn

    turns = [ours, *(theirs(peer) for peer in PEERS)]
    for number in range(rounds):
        for turn in turns if number % 2 == 0 else turns[::-1]:
            turn()
    compared = Peers(case, examples, ranks, found.seconds, values)
    if not (error := compared.error("mwms")) <= TOLERANCE or compared.undefined("mwms"):
        raise RuntimeError(f"{case}: values of the harness and of MultiWorkerMirroredStrategy differ by {error}: {values}")
    return compared


def table(found: Sequence[Peers]) -> str:
    """Write ratios and errors as lines of a Markdown table."""
    lines = ["| case | peer | harness / peer | largest difference of a value |", "| --- | --- | ---: | ---: |"]
    for one in found:
        for peer in PEERS:
            nan = "".join(f", {name} is NaN" for name in sorted(one.undefined(peer)))
            lines.append(f"| {one.case} | {peer} | {one.ratio(peer):.2f} | {one.error(peer):.1e}{nan} |")
    return "\n".join(lines)


def _start(peer: str, case: str, folder: Path, examples: int, ranks: int) -> dict[str, Any]:
    """Start the workers of a peer; return what the first wrote."""
    out = folder / "peers" / f"{peer}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    arguments = [sys.executable, "-m", "benchmarks.peers", peer, case, str(folder), str(examples), str(out)]
    if peer == "mwms":
        ports = [_free_port() for _ in range(ranks)]
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        commands = [
            (arguments, {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})})
            for index in range(ranks)
        ]
    else:
        commands = [(["horovodrun", "-np", str(ranks), "--mpi", *arguments], {})]
    workers = [
        subprocess.Popen(
            argv,
            env={**launched_environment(), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for argv, more in commands
    ]
    said = [worker.communicate(timeout=TIMEOUT_S)[0] for worker in workers]
    if any(worker.returncode for worker in workers) or not out.exists():
        raise RuntimeError(f"{peer} failed:\n" + "\n".join(text[-3000:] for text in said))
    answer: dict[str, Any] = json.loads(out.read_text())
    return answer


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


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

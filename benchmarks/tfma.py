"""The harness on ranks against TensorFlow Model Analysis: one SavedModel of serialized Examples, the same TFRecord files.

TFMA has an environment of its own, which is made at the first call. Its time is that of `run_model_analysis`: TensorFlow is
imported before. The harness's is that of the slowest rank without its import, from connecting to the written result;
the whole launch is reported beside.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases import METRICS
from benchmarks.launched import launch, peer_python, run_silently

__all__ = ["Compared", "add_arguments", "answer", "measure", "table"]

VERSION = "0.52.0"
TOLERANCE = 1e-4  # TFMA sums in float32
NAMES = {
    "accuracy": "sparse_categorical_accuracy",
    "top_k": "sparse_top_k_categorical_accuracy",
    "cross_entropy": "sparse_categorical_crossentropy",
}
FILES = 4


@dataclass(frozen=True)
class Compared:
    """Seconds of both, of the whole launch, and the values that both report."""

    examples: int
    ranks: int
    harness_s: float
    launch_s: float
    tfma_s: float
    values: dict[str, tuple[float, float]]

    @property
    def ratio(self) -> float:
        """How many times as fast the harness is."""
        return self.tfma_s / self.harness_s

    def document(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {**asdict(self), "ratio": self.ratio}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked."""
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--examples", type=int, default=500_000)


def answer(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Measure both.

    Returns: raw values and a table.
    """
    found = measure(options.folder, examples=options.examples, ranks=options.ranks)
    return found.document(), table(found)


def measure(folder: Path, *, examples: int, ranks: int) -> Compared:
    """Measure.

    Raises: RuntimeError: one failed, or their values differ.
    """
    place = folder / f"tfma-{examples}"
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "whole").exists():
        run_silently([sys.executable, "-c", WRITE, str(place), str(examples), str(FILES)])
        (place / "whole").touch()
    job = {
        "model": str(place / "model"),
        "data": {"format": "tfrecord", "files": str(place / "*.tfrecord"), "label": "label"},
        "metrics": [*METRICS],
        "slices": [["label"]],
        "batch_size": 256,
    }
    run = launch(job, place, ranks)
    metrics = json.loads((place / "run" / "metrics.json").read_text())["metrics"]
    out = place / "tfma.json"
    worker = Path(__file__).parent / "tfma_worker.py"
    run_silently(
        [
            str(peer_python(folder, f"tfma-{VERSION}", [f"tensorflow-model-analysis=={VERSION}"])),
            str(worker),
            str(place / "model"),
            str(place / "*.tfrecord"),
            str(out),
        ]
    )
    theirs = json.loads(out.read_text())
    values = {name: (metrics[name]["value"], theirs["values"][other]) for name, other in NAMES.items()}
    for name, (own, other) in values.items():
        if not abs(own - other) <= TOLERANCE:
            raise RuntimeError(f"{name}: the harness reports {own}, TFMA {other}")
    harness_s = max(sum(s for phase, s in rank.items() if phase != "import") for rank in run.seconds)
    return Compared(examples, ranks, harness_s, run.elapsed_s, theirs["seconds"], values)


def table(found: Compared) -> str:
    """Write both times as lines of a Markdown table."""
    return "\n".join(
        [
            f"| {found.examples:,} serialized Examples, 7 metrics, by label | seconds |",
            "| --- | ---: |",
            f"| harness, {found.ranks} ranks | {found.harness_s:.1f} |",
            f"| the same with imports and start, the whole launch | {found.launch_s:.1f} |",
            f"| TFMA {VERSION}, run_model_analysis | {found.tfma_s:.1f} |",
            f"| ratio | {found.ratio:.1f} |",
        ]
    )


WRITE = """
import sys
import keras, numpy as np, tensorflow as tf
folder, examples, files = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
keras.utils.set_random_seed(5)
image = keras.Input((64,), name="image")
model = keras.Model(image, keras.layers.Dense(10, activation="softmax")(keras.layers.Dense(128, activation="relu")(image)))
spec = {"image": tf.io.FixedLenFeature([64], tf.float32)}

@tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
def serve(examples):
    return {"probabilities": model(tf.io.parse_example(examples, spec)["image"])}

tf.saved_model.save(model, folder + "/model", signatures={"serving_default": serve})
rng = np.random.default_rng(6)
for number in range(files):
    with tf.io.TFRecordWriter(f"{folder}/part-{number}.tfrecord") as writer:
        for _ in range(number * examples // files, (number + 1) * examples // files):
            feature = {
                "image": tf.train.Feature(float_list=tf.train.FloatList(value=rng.standard_normal(64))),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(rng.integers(10))])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
"""

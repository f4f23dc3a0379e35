"""Evaluate the digits from Python, in four ways. Works alone, and under horovodrun: every rank runs this, all get the same.

python examples/python/evaluate.py RUN
horovodrun -np 2 python examples/python/evaluate.py RUN
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import yaml

import harness

DIGITS = Path(__file__).parent.parent / "digits"
METRICS = ["accuracy", {"top_k": {"k": 3}}, "cross_entropy"]


def main(run: str) -> None:
    """Evaluate, and write the files of a run into a folder."""
    # As the job file has it: the files of the run are those of `harness evaluate`.
    job = yaml.safe_load((DIGITS / "job.yaml").read_text())
    results = harness.evaluate(job["model"], job["data"], job["metrics"], output=run, folder=DIGITS)

    # Arrays, and a model that is in memory: here any function of tensors.
    images, labels = digits()
    model = tf.saved_model.load(str(DIGITS / "model"))
    arrays = harness.evaluate(model, (images, labels), METRICS)

    # A tf.data.Dataset, the same on all ranks.
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(100)
    again = harness.evaluate(model, dataset, METRICS)

    # Slices and intervals are options, as in a job.
    data = {"image": images, "label": labels, "writer": np.arange(len(labels)) % 13}
    sliced = harness.evaluate(
        model, data, ["accuracy"], label="label", inputs={"image": "image"}, slices=["writer"], bootstrap={"replicates": 50}
    )

    assert results["accuracy"] == arrays["accuracy"] == again["accuracy"] == sliced["accuracy"]
    assert results.certificate.examples == len(labels)
    print(f"accuracy {results['accuracy']:.6f}, {results.certificate}")
    print(sliced.table.head(3).to_string())


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images float32 [797, 8, 8, 1] and labels int64 [797], in the order of the files."""
    features = {"image": tf.io.FixedLenFeature([8, 8, 1], tf.float32), "label": tf.io.FixedLenFeature([], tf.int64)}
    files = sorted(str(path) for path in (DIGITS / "data").glob("digits-*.tfrecord"))
    records = tf.data.TFRecordDataset(files).map(lambda record: tf.io.parse_single_example(record, features))
    examples = list(records.as_numpy_iterator())
    return np.stack([each["image"] for each in examples]), np.array([each["label"] for each in examples])


if __name__ == "__main__":
    main(sys.argv[1])

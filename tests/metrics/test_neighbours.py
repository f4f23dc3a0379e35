"""A metric has the value that it has alone, whatever else the job asks for: sums are shared only where they are the same."""

from itertools import product

import numpy as np
import tensorflow as tf

import harness


def values(data, asked):
    """Return the values of metrics that are evaluated together, by name."""
    result = harness.evaluate(tf.identity, data, asked, label="y", inputs=["x"], progress=False)
    return {name: found["value"] for name, found in result.to_dict()["metrics"].items()}


def alone_and_beside(data, options):
    """Hold each metric alone against all of them in one job, in two orders."""
    asked = [{metric: {**keys, "name": f"m{number}"}} for number, (metric, keys) in enumerate(options)]
    alone = {name: value for one in asked for name, value in values(data, [one]).items()}
    assert values(data, asked) == values(data, asked[::-1]) == alone
    return alone


def test_overlap_of_images():
    random = np.random.default_rng(3)
    scores, labels = random.random((6, 4, 4, 3)).astype(np.float32), random.integers(0, 3, (6, 4, 4))
    labels[0][labels[0] == 2] = 0
    averages = ("macro", "micro", "per_class", "binary")
    options = [
        (metric, {"per_image": True, "include_background": background, "average": average})
        for metric, background, average in product(("iou", "dice"), (True, False), averages)
    ]
    options += [(metric, {"average": average}) for metric, average in product(("iou", "dice"), averages[:2])]
    found = alone_and_beside({"x": scores, "y": labels}, options)
    assert len({str(value) for value in found.values()}) > 14


def test_thresholds_on_logits_and_scores():
    scores = np.array([0.2, 0.45, 0.55, 0.9, -0.3, 0.05], np.float32)
    options = [
        (metric, {**scale, "threshold": 0.5, "average": average})
        for metric, scale, average in product(
            ("f1", "precision"), ({"from_logits": True}, {"raw_scores": True}), ("binary", "macro")
        )
    ]
    found = alone_and_beside({"x": scores, "y": np.array([0, 1, 1, 1, 0, 0])}, options)
    assert found["m0"] != found["m2"]


def test_who_decides_otherwise_counts_otherwise():
    from harness.metrics.classification import Recall

    class Second(Recall):
        def predicted(self, predictions):
            return tf.cast(tf.argsort(predictions, direction="DESCENDING")[:, 1], tf.int32)

    assert Recall().statistic() == Recall(average="micro").statistic() != Second().statistic()

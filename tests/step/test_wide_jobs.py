"""Jobs with many inputs, metrics or slices: what is built grows with them linearly, and no loop or branch comes with each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import harness
from harness.data import Feature
from harness.data.memory import from_arrays
from harness.job.specs import MetricSpec, SlicesSpec
from harness.metrics import make
from harness.metrics.question import Question
from harness.plan.plan import Chunk
from harness.ranks.share import FixedShare
from harness.step.array_feed import ArrayFeed
from harness.step.step import Step

pytestmark = pytest.mark.slow

EXAMPLES = 48
SIZES = (5, 10, 15)


def step_of(*, inputs=1, metrics=1, slices=1):
    rng = np.random.default_rng(1)
    arrays = {f"x{place}": rng.random(EXAMPLES, np.float32) for place in range(inputs)}
    arrays |= {f"s{place}": rng.integers(place + 2, size=EXAMPLES) for place in range(slices)}
    arrays["label"] = rng.integers(2, size=EXAMPLES)
    source = from_arrays(arrays)[0]
    wanted = {name: Feature(array.dtype.name, ()) for name, array in arrays.items()}
    thresholds = [{"threshold": place / metrics, "name": f"at_{place}"} for place in range(metrics)]
    made = make([MetricSpec(name="binary_accuracy", options=options) for options in thresholds])
    bindings = {key: metric.binding("scores", "label", None) for key, metric in made.items()}
    question = Question(made, bindings, SlicesSpec(by=[[f"s{place}"] for place in range(slices)]), None)
    feed = ArrayFeed(source, wanted, 16)
    feed.open(FixedShare([Chunk(0, 0, EXAMPLES)]))

    def predict(features):
        return {"scores": tf.add_n([features[f"x{place}"] for place in range(inputs)]) / inputs}

    return Step(predict, question, feed), arrays


def graph_of(step):
    """Return how many operations there are, and how many graphs they lie in."""
    graph = step._call.graph.as_graph_def()
    functions = graph.library.function
    return len(graph.node) + sum(len(function.node_def) for function in functions), len(functions)


@pytest.mark.parametrize("dimension", ["inputs", "metrics", "slices"])
def test_the_graph_grows_linearly(dimension):
    operations, graphs = zip(*(graph_of(step_of(**{dimension: size})[0]) for size in SIZES), strict=True)
    assert operations[2] - operations[1] == operations[1] - operations[0]
    assert len(set(graphs)) == 1


def test_many_slices_have_the_values_of_pandas():
    rng = np.random.default_rng(2)
    columns = {f"s{place}": rng.integers(place + 2, size=EXAMPLES) for place in range(9)}
    scores, label = rng.random(EXAMPLES), rng.integers(2, size=EXAMPLES)
    results = harness.evaluate(
        lambda x: x,
        {"x": scores, "label": label, **columns},
        ["binary_accuracy"],
        label="label",
        inputs=["x"],
        slices=[*columns, ["s3", "s7"]],
        alone=True,
    )
    right = pd.DataFrame(columns | {"right": (scores > 0.5) == label})
    expected = {((name, value),): part for name in columns for value, part in right.groupby(name)["right"]}
    expected |= {(("s3", a), ("s7", b)): part for (a, b), part in right.groupby(["s3", "s7"])["right"]}
    values = {tuple(each["slice"].items()): each["metrics"]["binary_accuracy"] for each in results.document["slices"]}
    assert {key: (value["value"], value["examples"]) for key, value in values.items()} == {
        key: (part.mean(), len(part)) for key, part in expected.items()
    }

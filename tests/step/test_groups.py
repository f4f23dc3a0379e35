"""How many batches make a group: as few as tensors of terms of a multiple of 16 rows allow; the sums do not depend on it."""

import numpy as np
import pytest
import tensorflow as tf

from harness.data import Feature
from harness.exact.tf_limbs import with_xla
from harness.job.job import Job
from harness.metrics import make
from harness.metrics.question import Question
from harness.step.build import pays_with_xla
from harness.step.shapes import _group
from harness.step.terms import Terms

EXAMPLES, SIDE, CLASSES = 16, 24, 5


def metrics_of(*metrics):
    job = Job.from_dict({"model": "m", "data": {"files": "x.npz", "label": "label"}, "metrics": list(metrics)})
    made = make(job.metrics)
    bindings = {
        key: metric.binding(metric.output or "scores", metric.label or "label", metric.weight) for key, metric in made.items()
    }
    return made, bindings


def terms_of(*metrics):
    return Terms(*metrics_of(*metrics))


def tensors():
    random = np.random.default_rng(4)
    label = random.integers(-1, CLASSES, (EXAMPLES, SIDE, SIDE))
    scores = random.normal(size=(EXAMPLES, SIDE, SIDE, CLASSES)).astype(np.float32)
    number, weight = random.normal(size=(2, EXAMPLES, SIDE, SIDE)).astype(np.float32)
    return {"label": label, "number": number, "weight": abs(weight)}, {"scores": scores, "first": scores[..., 0]}


METRICS = (
    "accuracy",
    "mean_iou",
    {"cross_entropy": {"from_logits": True, "ignore_label": -1}},
    {"mean_squared_error": {"label": "number", "output": "first", "weight": "weight"}},
)


@pytest.mark.parametrize("xla", [False, True])
def test_the_sums_of_positions_do_not_depend_on_the_group(xla):
    terms = terms_of(*METRICS)
    features, outputs = tensors()

    def sums(size):
        def batch(features, outputs):
            return terms(features, outputs, tf.ones([size], tf.bool)).sums()

        with with_xla(xla):
            compiled = tf.function(batch, autograph=False)
            parts = [
                compiled(
                    *({name: tf.constant(array[at : at + size]) for name, array in read.items()} for read in (features, outputs))
                )
                for at in range(0, EXAMPLES, size)
            ]
        return np.sum([part.numpy() for part in parts], axis=0)

    whole = sums(16)
    assert whole.any()
    assert np.array_equal(sums(2), whole)


def test_positions_are_known_where_each_has_a_label():
    features, _ = tensors()
    assert terms_of(*METRICS).common_positions(features) == SIDE * SIDE
    assert terms_of("accuracy", {"mean_iou": {"per_image": True}}).common_positions(features) == 1  # it reads whole images
    assert terms_of({"accuracy": {"one_hot": True}}).common_positions(features) == 1


@pytest.mark.parametrize(
    ("metric", "shape", "examples", "pays"),
    [
        ("accuracy", (), 4_000_000, True),
        ("accuracy", (), 3_999_999, False),
        ("accuracy", (512, 512), 16, True),
        ("accuracy", (512, None), 7_813, True),
        ({"mean_iou": {"per_image": True}}, (512, 512), 16, False),  # it has one position an image
    ],
)
def test_sums_are_compiled_where_positions_are_many(metric, shape, examples, pays):
    metrics, bindings = metrics_of(metric)
    wanted = {"label": Feature("int64", shape), "image": Feature("float32", (4096, 4096))}
    assert pays_with_xla(examples, Question(metrics, bindings), wanted) == pays


@pytest.mark.parametrize(
    ("size", "positions", "group"),
    [
        (4, 512 * 512, 1),
        (1, 512 * 512, 2),  # a sum over the positions of one example is another operation
        (4, 1, 4),  # 16 examples
        (4, 6, 2),  # 48 positions
        (3, 5, 16),
        (16, 1, 1),
    ],
)
def test_a_group_of_large_batches_is_small(size, positions, group):
    large = tf.TensorSpec([size, 8 << 20], tf.float32)
    assert _group(size, size * positions, [large], replicated=False) == group

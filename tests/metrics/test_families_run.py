"""The families through whole runs: a model, a job, ranks, slices and intervals; against the same metrics on arrays."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.naive_bayes import GaussianNB

from tests.conftest import command, start
from tests.metrics.batches import value_of

EXAMPLES, WRITERS = 150, 3
# metric, label, output, options
METRICS: list[tuple[str, str, str, dict]] = [
    ("accuracy", "digit", "guess", {"classes": 10}),
    ("balanced_accuracy", "digit", "scores", {"adjusted": True}),
    ("specificity", "digit", "scores", {"average": "weighted"}),
    ("jaccard", "digit", "scores", {"average": "per_class", "zero_division": 0}),
    ("cohen_kappa", "digit", "guess", {"classes": 10, "weights": "quadratic"}),
    ("matthews_correlation", "digit", "scores", {}),
    ("confusion_matrix", "digit", "scores", {"normalize": "all"}),
    ("multilabel_f_beta", "traits", "traits_scores", {"average": "samples", "zero_division": 0}),
    ("multilabel_precision", "traits", "traits_scores", {"zero_division": 0}),
    ("hamming_loss", "traits", "traits_scores", {}),
    ("exact_match", "traits", "traits_scores", {}),
    ("ranking_loss", "traits", "traits_scores", {}),
    ("coverage_error", "traits", "traits_scores", {}),
    ("label_ranking_average_precision", "traits", "traits_scores", {}),
    ("pixel_accuracy", "ink", "ink_scores", {}),
    ("iou", "ink", "ink_map", {"classes": 3}),
    ("mean_iou", "ink", "ink_scores", {"per_image": True}),
    ("dice", "ink", "ink_map", {"classes": 3, "per_image": True, "include_background": False}),
    ("panoptic_quality", "segments", "segments_map", {"things": [2], "stuffs": [0, 1]}),
    ("adjusted_rand", "digit", "cluster", {"classes": 10, "clusters": 12}),
    ("normalized_mutual_info", "digit", "cluster", {"classes": 10, "clusters": 12}),
    ("v_measure", "digit", "cluster", {"classes": 10, "clusters": 12}),
]


def columns() -> dict[str, np.ndarray]:
    """Labels and what a model says, of digits."""
    digits = load_digits()
    train, test = slice(EXAMPLES, None), slice(0, EXAMPLES)
    scores = GaussianNB().fit(digits.data[train], digits.target[train]).predict_proba(digits.data[test])
    ink = digits.images[test]
    label, found = np.digitize(ink, [4, 12]), np.digitize((ink + np.roll(ink, 1, axis=1)) / 2, [4, 12])
    halves = np.broadcast_to(np.arange(8) // 4, ink.shape)
    one_hot = np.eye(10)[digits.target[test]]
    return {
        "digit": digits.target[test].astype(np.int64),
        "writer": np.arange(EXAMPLES) % WRITERS,
        "traits": (one_hot[:, :5] + one_hot[:, 5:]).astype(np.int64),
        "ink": label.astype(np.int64),
        "segments": np.stack([label, halves], axis=-1).astype(np.int64),
        "scores": scores.astype(np.float32),
        "guess": scores.argmax(axis=1).astype(np.int64),
        "traits_scores": np.round(scores[:, :5] + scores[:, 5:], 2).astype(np.float32),
        "ink_scores": np.eye(3, dtype=np.float32)[found],
        "ink_map": found.astype(np.int32),
        "segments_map": np.stack([found, halves], axis=-1).astype(np.int32),
        "cluster": KMeans(12, n_init=1, random_state=0).fit_predict(digits.data[test]).astype(np.int32),
    }


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Path:
    """A job whose model says what the data's columns hold."""
    folder = tmp_path_factory.mktemp("families")
    data = columns()
    np.savez(folder / "digits.npz", **data)
    said = sorted({output for _, _, output, _ in METRICS})
    module = tf.Module()
    module.say = tf.function(
        lambda **given: {name: tf.identity(value) for name, value in given.items()},
        input_signature=None,
    )
    specs = {name: tf.TensorSpec([None, *data[name].shape[1:]], data[name].dtype, name=name) for name in said}
    tf.saved_model.save(module, str(folder / "model"), signatures=module.say.get_concrete_function(**specs))
    text = {
        "model": "model",
        "data": {"format": "npz", "files": "digits.npz", "inputs": {name: name for name in said}, "label": "digit"},
        "batch_size": 16,
        "chunk_size": 32,
        "metrics": [{name: {"label": label, "output": output, **options}} for name, label, output, options in METRICS],
        "slices": [["writer"]],
        "bootstrap": {"replicates": 20, "seed": 3},
        "output": "run",
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(text))
    return folder / "job.yaml"


def expected_of(data: dict[str, np.ndarray], metric: str, label: str, output: str, options: dict) -> object:
    """Return the value on arrays as JSON would give it back."""
    value = value_of(metric, data[label], data[output], batch=EXAMPLES, **options)
    if hasattr(value, "rows"):
        value = {"columns": list(value.columns), "rows": [list(row) for row in value.rows]}
    return json.loads(json.dumps(value))


@pytest.fixture(scope="module")
def alone(job, cli_server) -> bytes:
    """What one rank writes."""
    done = command(cli_server, job.parent, "evaluate", job, "-o", job.parent / "alone")
    assert done.code == 0, done.text
    return (job.parent / "alone" / "metrics.json").read_bytes()


def test_values_slices_and_intervals(alone):
    found = json.loads(alone)
    data = columns()
    for metric, label, output, options in METRICS:
        assert found["metrics"][metric]["value"] == expected_of(data, metric, label, output, options), metric
    assert len(found["slices"]) == WRITERS
    for entry in found["slices"]:
        writer = entry["slice"]["writer"]
        part = {name: column[data["writer"] == int(writer)] for name, column in data.items()}
        for metric, label, output, options in METRICS:
            assert entry["metrics"][metric]["value"] == expected_of(part, metric, label, output, options), (metric, writer)
    low, high = (found["intervals"]["cohen_kappa"][end] for end in ("low", "high"))
    assert low < found["metrics"]["cohen_kappa"]["value"] < high
    assert set(found["intervals"]["panoptic_quality"]) >= {"pq", "sq", "rq_things"}


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", ["2", "3", "5"])
def test_ranks_write_the_same_bytes(job, alone, ranks):
    folder = job.parent / ranks
    done = start(["harness", "launch", "-np", ranks, "--", "evaluate", job, "-o", folder], job.parent)
    assert done.code == 0, done.text
    assert (folder / "metrics.json").read_bytes() == alone

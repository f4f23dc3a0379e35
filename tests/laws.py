"""Data and a model on which every registered metric has a value: the model hands on what it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from harness.metrics import METRICS, load
from harness.metrics.contract import Inputs

EXAMPLES = 150
BY_INPUTS = {
    Inputs.CLASSES: {"output": "scores", "label": "five"},
    Inputs.BINARY: {"output": "chance", "label": "two"},
    Inputs.MULTILABEL: {"output": "several", "label": "tags"},
    Inputs.NUMBERS: {"output": "amount", "label": "target"},
    Inputs.OUTPUT: {"output": "amount"},
}
TWO = {"output": "chance", "label": "two"}
CLUSTERS = {"output": "cluster", "label": "five", "clusters": 5, "classes": 5}
TEXT = {"output": "text", "label": "reference"}
VECTOR = {"output": "vector", "label": "other_vector"}
QUERY = {"output": "amount", "label": "two", "query": "query"}
# What a metric needs beyond, or instead of, the default for what it reads.
CASES: dict[str, dict[str, Any]] = {
    **{name: TWO for name in ("roc_auc", "gini", "average_precision", "roc_curve", "pr_curve", "ks", "equal_error_rate", "log_loss", "normalised_entropy")},
    "precision_at_recall": {**TWO, "recall": 0.6}, "recall_at_precision": {**TWO, "precision": 0.6},
    "sensitivity_at_specificity": {**TWO, "specificity": 0.5}, "specificity_at_sensitivity": {**TWO, "sensitivity": 0.5},
    **{name: CLUSTERS for name in ("adjusted_rand", "normalized_mutual_info", "homogeneity", "completeness", "v_measure")},
    **{name: TEXT for name in ("word_error_rate", "character_error_rate", "token_f1", "text_exact_match", "bleu", "chrf", "rouge")},
    **{name: QUERY for name in ("ndcg", "mean_reciprocal_rank", "mean_average_precision", "precision_at_k", "recall_at_k", "hit_rate", "grouped_auc", "ranking_gains")},
    **{name: {"output": "amount"} for name in ("nan_count", "infinity_count", "zero_count")},
    "retrieval_recall": {"output": "vector", "label": "five", "query": "query"},
    "cosine_similarity": VECTOR, "fid": VECTOR,
    "bits_per_byte": {"output": "scores", "label": "five", "bytes": "bytes"},
    "panoptic_quality": {"output": "segments", "label": "true_segments", "things": [0, 1], "stuffs": [2]},
    "coco": {"output": "boxes", "label": "true_boxes", "scores": "box_scores", "classes": "box_classes", "label_classes": "true_classes", "box_format": "xywh"},
    "histogram": {"output": "amount", "low": 0.0, "high": 10.0},
    "top_k": {"output": "scores", "label": "five", "k": 2},
    **{name: {"output": "scores", "label": "five", "baseline": "other_scores"} for name in ("mcnemar", "flip_rate")},
    **{name: {"output": "amount", "baseline": "chance"} for name in ("prediction_difference", "largest_prediction_difference")},
    "within_tolerance": {"output": "amount", "baseline": "chance", "atol": 0.25},
}  # fmt: skip
# What a metric needs to be weighted.
WEIGHTED = {
    "quantile": {"method": "inverted_cdf"},
    **{name: {"weight": "query_weight"} for name, options in CASES.items() if options is QUERY},
}
OUTPUTS = (
    "scores", "chance", "several", "amount", "cluster", "text", "vector", "segments", "boxes", "box_scores", "box_classes",
    "other_scores",
)  # fmt: skip


def case(name: str) -> dict[str, Any]:
    """Options of a metric under which it has a value here."""
    options = CASES.get(name) or BY_INPUTS[load(name).inputs]
    known = load(name).model_fields
    return {key: value for key, value in options.items() if key in known}


def metrics() -> list[dict[str, Any]]:
    """Every metric, and weighted where it takes weights."""
    plain = [{name: {**case(name), "name": name}} for name in METRICS]
    weighted = [
        {name: {**case(name), "weight": "weight", **WEIGHTED.get(name, {}), "name": f"{name} weighted"}}
        for name in METRICS
        if load(name).takes_weights
    ]
    return plain + weighted


def columns() -> dict[str, np.ndarray]:
    """Values of wide and uneven size, no two equal, so that a sum in another order would show."""
    rng = np.random.default_rng(11)
    five = rng.integers(0, 5, EXAMPLES)
    two = rng.integers(0, 2, EXAMPLES)
    scores = rng.dirichlet(np.ones(5), EXAMPLES) + np.eye(5)[five] * 0.2
    tags = rng.integers(0, 2, [EXAMPLES, 3])
    tags[:, 0] = 1 - tags[:, 1]  # at least one tag, not all
    target = np.exp(rng.normal(scale=3, size=EXAMPLES))
    words = np.array(["the", "cat", "sat", "on", "a", "mat", "dog", "ran"])
    reference = [" ".join(rng.choice(words, rng.integers(4, 9))) for _ in range(EXAMPLES)]
    text = [line if rng.random() < 0.3 else line.replace("cat", "dog") + " " + rng.choice(words) for line in reference]
    boxes = np.concatenate([rng.uniform(0, 50, [EXAMPLES, 3, 2]), rng.uniform(20, 120, [EXAMPLES, 3, 2])], axis=2)
    segments = np.stack([rng.integers(0, 3, [EXAMPLES, 4, 4]), rng.integers(0, 2, [EXAMPLES, 4, 4])], axis=-1)
    moved = np.where(rng.random([EXAMPLES, 4, 4, 1]) < 0.15, 0, segments)
    return {
        "scores": (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32), "five": five,
        "chance": np.clip(0.3 + 0.3 * two + rng.normal(scale=0.2, size=EXAMPLES), 0.01, 0.99).astype(np.float32), "two": two,
        "several": np.clip(rng.random([EXAMPLES, 3]) * 0.6 + 0.35 * tags, 0, 1).astype(np.float32), "tags": tags,
        "amount": (target * np.exp(rng.normal(size=EXAMPLES))).astype(np.float32), "target": target.astype(np.float32),
        "cluster": np.where(rng.random(EXAMPLES) < 0.7, five, rng.integers(0, 5, EXAMPLES)),
        "text": np.array([line.encode() for line in text]), "reference": np.array([line.encode() for line in reference]),
        "vector": rng.normal(size=[EXAMPLES, 4]).astype(np.float32), "other_vector": rng.normal(size=[EXAMPLES, 4]).astype(np.float32),
        "segments": moved.astype(np.int32), "true_segments": segments.astype(np.int32),
        "boxes": (boxes + rng.normal(scale=4, size=boxes.shape)).astype(np.float32), "true_boxes": boxes.astype(np.float32),
        "box_scores": rng.random([EXAMPLES, 3]).astype(np.float32), "box_classes": np.tile([0, 1, 1], [EXAMPLES, 1]),
        "true_classes": np.tile([0, 1, 1], [EXAMPLES, 1]),
        "query": (query := rng.integers(0, 12, EXAMPLES)), "bytes": rng.integers(1, 30, EXAMPLES),
        "weight": np.exp(rng.normal(size=EXAMPLES)).astype(np.float32),
        "query_weight": np.exp(rng.normal(size=12)).astype(np.float32)[query],
        "other_scores": rng.dirichlet(np.ones(5), EXAMPLES).astype(np.float32),
    }  # fmt: skip


def save_mirror(folder: Path) -> None:
    """Write a SavedModel whose outputs are its inputs."""
    import tensorflow as tf

    found = columns()
    kinds = {name: tf.string if found[name].dtype.kind == "S" else tf.as_dtype(found[name].dtype) for name in OUTPUTS}
    specs = {name: tf.TensorSpec([None, *found[name].shape[1:]], kinds[name], name=f"{name}_in") for name in OUTPUTS}

    class Mirror(tf.Module):
        @tf.function
        def call(self, **given: Any) -> Any:
            return {name: tf.identity(given[f"{name}_in"]) for name in OUTPUTS}

    module = Mirror()
    signature = module.call.get_concrete_function(**{f"{name}_in": spec for name, spec in specs.items()})
    tf.saved_model.save(module, str(folder), signatures={"serving_default": signature})

"""Run folders for reports: written by hand where a document is enough, evaluated where sums are read."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

import harness
from tests import made

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> $x^2$ \x1b[2K"
KEPT_CLASSES = ["cat", "dog as bird", "bird"]
CERTIFICATE = {"examples": 1000, "chunks": 4, "id_hash": "0123456789abcdef", "content_hash": "fedcba9876543210"}
BINARY = [
    "accuracy", {"precision": {"average": "binary"}}, {"recall": {"average": "per_class"}}, "log_loss",
    {"binned_roc_auc": {"bins": 40}}, {"roc_curve": {"bootstrap": False}}, {"reliability_curve": {"positive": 1, "bins": 5}},
    "confusion_matrix", {"counts_at_thresholds": {"thresholds": [0.25, 0.5, 0.75]}},
]  # fmt: skip


def number(value: float | None, half: float = 0.02, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return an entry of `metrics`, and its interval."""
    interval = (
        {"low": None, "high": None} if value is None else {"low": value - half, "high": value + half, "standard_error": half / 2}
    )
    return {"value": value, "examples": 1000, **more}, {**interval, "method": "percentile"}


def write(folder: Path, metrics: dict[str, Any], **sections: Any) -> Path:
    """Write a finished run: metrics by key, each an entry and its interval."""
    folder.mkdir(parents=True, exist_ok=True)
    better = {key: "lower" if "loss" in key else "higher" for key in metrics}
    document = {
        "certificate": CERTIFICATE,
        "digests": {"data": "d" * 64, "job": "e" * 64, "model": "f" * 64},
        "definitions": {key: {"label": key, "better": way, "metric": key} for key, way in better.items()},
        "bootstrap": {"replicates": 200, "seed": 1, "level": 0.95, "cluster": None},
        "metrics": {key: entry for key, (entry, _) in metrics.items()},
        "intervals": {key: interval for key, (_, interval) in metrics.items() if interval},
        **sections,
    }
    (folder / "metrics.json").write_text(json.dumps(document))
    return folder


def with_slices(folder: Path, count: int) -> Path:
    """Write a run of so many slices: the accuracy of slice i falls with i, every tenth slice is small."""
    slices = []
    for i in range(count):
        examples, accuracy = 10 if i % 10 == 0 else 100 + i, 0.9 - 0.8 * i / count
        entries = {"accuracy": number(accuracy), "log_loss": number(0.1 + i / count), "recall": number(None if i == 3 else 0.5)}
        slices.append(
            {
                "slice": {"city": f"city {i:04d}"},
                "examples": examples,
                "metrics": {key: {**entry, "examples": examples} for key, (entry, _) in entries.items()},
                "intervals": {key: interval for key, (_, interval) in entries.items()},
            }
        )
    metrics = {"accuracy": number(0.8), "log_loss": number(0.4), "recall": number(0.6)}
    return write(folder, metrics, slices=slices, slices_left_out=2)


def model(noise: float) -> Any:
    """Return a scorer of class 1 by the examples' first column, more or less spoilt by their second."""
    import tensorflow as tf

    return lambda x: tf.sigmoid(2 * x[:, 0] + noise * x[:, 1])[:, None]


def evaluated(folder: Path, noise: float, metrics: Any = BINARY) -> Path:
    """Evaluate such a model into a run folder, with slices and intervals."""
    examples = made.examples()
    label = (examples.x[:, 0] + 0.5 * examples.x[:, 2] > 0).astype(np.int64)
    data = {"x": examples.x, "label": label, "group": np.array(["a", "b", "c"])[np.arange(len(label)) % 3]}
    harness.evaluate(
        model(noise), data, metrics, output=folder, inputs=["x"], label="label", classes=["no", HOSTILE],
        slices=[["group"]], bootstrap={"replicates": 40, "seed": 5}, progress=False,
    )  # fmt: skip
    return folder


def numbers(folder: Path, metrics: Any) -> Path:
    """Evaluate a model of a number into a run folder."""
    examples = made.examples()
    data = {"x": examples.x, "target": np.abs(examples.target[:, None]), "query": np.arange(len(examples.x)) // 8}
    harness.evaluate(lambda x: 2 * x[:, :1], data, metrics, output=folder, inputs=["x"], label="target", progress=False)
    return folder


def pictured(folder: Path, slope: float = 1.0) -> Path:
    """Evaluate a model of small pictures into a run folder that keeps examples of each cell."""
    import tensorflow as tf

    rng = np.random.default_rng(3)
    pictures, labels = rng.integers(0, 256, (60, 16, 16, 1), np.uint8), rng.integers(0, 3, 60)
    weights = slope * rng.normal(size=(256, 3)).astype(np.float32)
    harness.evaluate(
        lambda image: tf.nn.softmax(tf.reshape(tf.cast(image, tf.float32) / 2000, [-1, 256]) @ weights),
        {"image": pictures, "label": labels, "other": (labels + 1) % 3, "size": np.arange(60.0)},
        ["cross_entropy", "confusion_matrix", {"confusion_matrix": {"name": "of_another", "label": "other"}}],
        inputs=["image"], label="label", classes=KEPT_CLASSES, output=folder, alone=True, progress=False,
        examples={"worst": 4, "per": "confusion", "also": ["confident", "random"], "features": ["size"]},
    )  # fmt: skip
    return folder


def segmented(folder: Path) -> Path:
    """Evaluate a model of pixels into a run folder, with slices and intervals."""
    rng = np.random.default_rng(4)
    masks = np.repeat(np.repeat(rng.integers(0, 4, (48, 4, 4)), 4, 1), 4, 2)
    scores = (np.eye(4)[masks] + rng.normal(0, 0.6, (*masks.shape, 4))).astype(np.float32)
    harness.evaluate(
        lambda scores: scores, {"scores": scores, "mask": masks, "scanner": np.array(["A", "B"])[np.arange(48) % 2]},
        ["mean_iou", "iou", {"dice": {"average": "macro"}}, "pixel_accuracy", "confusion_matrix"],
        inputs=["scores"], label="mask", classes=["sky", "road", "car", "person"], slices=[["scanner"]],
        bootstrap={"replicates": 40, "seed": 5}, output=folder, alone=True, progress=False,
    )  # fmt: skip
    return folder


TEXTS = ("a fine day at the sea", "rain again and again", "the best soup in town", "never again", HOSTILE, "so-so, but cheap")


def worded(folder: Path) -> Path:
    """Evaluate a model of texts into a run folder that keeps examples; it judges them by their length, and repeats them."""
    import tensorflow as tf

    texts = np.array([f"{TEXTS[i % len(TEXTS)]}, visit {i % 7}" for i in range(60)], dtype=object)
    references = np.array([text if i % 3 else text.replace("visit", "stay") for i, text in enumerate(texts)], dtype=object)

    def judge(text: Any) -> Any:
        long = tf.cast(tf.strings.length(text), tf.float32)[:, None] / 100
        return {"scores": tf.nn.softmax(tf.concat([1 - long, 2 * long, 0 * long], 1)), "repeated": text}

    harness.evaluate(
        judge, {"text": texts, "reference": references, "stars": np.arange(60) % 3},
        [
            {"accuracy": {"output": "scores"}}, {"cross_entropy": {"output": "scores"}}, {"confusion_matrix": {"output": "scores"}},
            {"token_f1": {"output": "repeated", "label": "reference"}},
            {"word_error_rate": {"output": "repeated", "label": "reference"}},
        ],
        inputs=["text"], label="stars", classes=["bad", "good", "<i>neither</i>"], output=folder, alone=True, progress=False,
        examples={"worst": 5, "also": ["random"]},
    )  # fmt: skip
    return folder


class Page(HTMLParser):
    """What a page holds, read by a parser of its own: elements with their attributes, and the texts of table cells by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("td", "th", "script", "small"):
            self._open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif self._open:
            self.rows[-1][-1] += f" {data}" if self._open[-1] == "small" else data

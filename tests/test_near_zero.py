"""Scores, probabilities and weights next to zero, through whole runs and every way they are fed: scikit-learn's numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    coverage_error,
    label_ranking_loss,
    log_loss,
    roc_auc_score,
)

from tests import made
from tests.metrics.batches import reason_of, result_of, value_of

N = 300
TINY = {np.float32: 1e-39, np.float64: 1e-310}  # the unit of scores: subnormal, and no two thresholds apart for TensorFlow


def scores(dtype) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that rise with them, all subnormal, some equal."""
    rng = np.random.default_rng(21)
    label = rng.integers(0, 2, N)
    score = (rng.integers(1, 60, N) + 20 * label) * dtype(TINY[dtype]) / dtype(8)
    return label, score.astype(dtype)


def exact(score: np.ndarray) -> np.ndarray:
    """The same scores, scaled by a power of two to where nothing flushes them."""
    return np.ldexp(score.astype(np.float64), 1000)


def wanted(label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    return {
        "roc_auc": roc_auc_score(label, exact(score)),
        "average_precision": average_precision_score(label, exact(score)),
        "maximum": float(score.max()),
        "minimum": float(score.min()),
        "zero_count": 0,
    }


METRICS = ["roc_auc", "average_precision", "maximum", "minimum", "zero_count"]


def write(folder: Path, kind: str, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """Write a file of a format; returns the data section that reads it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A text is read as float64, where nothing else is said.
    texts = {} if columns["score"].dtype == np.float64 else {"features": {"score": {"dtype": "float32"}}}
    path = folder / f"data.{kind}"
    if kind == "npz":
        np.savez(path, **columns)
    elif kind == "npy":
        for name, array in columns.items():
            np.save(folder / f"{name}.npy", array)
        return {"files": str(folder / "*.npy")}
    elif kind == "parquet":
        pq.write_table(pa.table(columns), path)
    elif kind == "tfrecord":
        made.write_tfrecord(path, made.records(columns))
    elif kind == "csv":
        path.write_text(
            "score,label\n" + "".join(f"{s!r},{y}\n" for s, y in zip(*(c.tolist() for c in columns.values()), strict=True))
        )
        return {"files": str(path), **texts}
    elif kind == "jsonl":
        lines = [f'{{"score": {s!r}, "label": {y}}}\n' for s, y in zip(*(c.tolist() for c in columns.values()), strict=True)]
        path.write_text("".join(lines))
        return {"files": str(path), **texts}
    return {"files": str(path)}


def check(found: Any, label: np.ndarray, score: np.ndarray) -> None:
    for name, value in wanted(label, score).items():
        assert found[name] == pytest.approx(value, rel=1e-14, abs=0), (name, found.reasons)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(kind, dtype) for kind in ("memory", "npz", "npy", "parquet", "csv", "jsonl", "tfrecord") for dtype in TINY
     if (kind, dtype) != ("tfrecord", np.float64)],  # which holds float32 alone
)  # fmt: skip
def test_tiny_scores_are_ordered_however_they_are_read(kind, dtype, tmp_path):
    import harness

    label, score = scores(dtype)
    columns = {"score": score, "label": label}
    data = columns if kind == "memory" else write(tmp_path, kind, columns)
    found = harness.evaluate(lambda score: score, data, METRICS, label="label", inputs=["score"], batch_size=32)
    check(found, label, score)


def test_tiny_scores_among_columns_of_one_feature(tmp_path):
    import harness

    label, score = scores(np.float32)
    lines = [f"{s!r},{1.5 * s!r},{y}\n" for s, y in zip(score.tolist(), label.tolist(), strict=True)]
    (tmp_path / "data.csv").write_text("a,b,label\n" + "".join(lines))
    data = {"files": str(tmp_path / "data.csv"), "features": {"both": {"dtype": "float32", "columns": ["a", "b"]}}}
    found = harness.evaluate(lambda both: both[:, 0], data, METRICS, label="label", inputs=["both"], batch_size=32)
    check(found, label, score)


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "jsonl"])
def test_tiny_scores_are_ordered_when_they_come_from_predictions(kind, harness, tmp_path):
    import tensorflow as tf

    from harness import Results

    label, score = scores(np.float32)
    np.savez(tmp_path / "data.npz", score=score, label=label)
    module = tf.Module()
    module.call = tf.function(
        lambda score: {"p": tf.identity(score)}, input_signature=[tf.TensorSpec([None], tf.float32, name="score")]
    )
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=module.call)
    job = {
        "model": str(tmp_path / "model"),
        "data": {"files": str(tmp_path / "data.npz"), "label": "label"},
        "metrics": METRICS,
        "predictions": {"format": kind},
    }
    import yaml

    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    done = harness("predict", tmp_path / "job.yaml", "-o", tmp_path / "predicted")
    assert done.code == 0, done.text
    check(Results.load(tmp_path / "predicted"), label, score)
    done = harness("evaluate", tmp_path / "job.yaml", "-o", tmp_path / "again", "--predictions", tmp_path / "predicted")
    assert done.code == 0, done.text
    assert (tmp_path / "again" / "metrics.json").read_bytes() == (tmp_path / "predicted" / "metrics.json").read_bytes()


@pytest.mark.parametrize("dtype", list(TINY))
def test_tiny_probabilities_have_their_logarithm(dtype):
    p = np.array([1e-38 if dtype is np.float32 else 1e-310, 0.5, 0.5], dtype)
    label = np.array([1, 1, 0])
    # scikit-learn clips at the dtype's epsilon: by hand
    loss = -(math.log(float(p[0])) + 2 * math.log(0.5)) / 3
    for name in ("log_loss", "cross_entropy"):
        assert value_of(name, label, p) == pytest.approx(loss, rel=1e-15)
    plain = np.array([0.25, 0.5, 0.5])
    assert value_of("log_loss", label, plain) == pytest.approx(log_loss(label, plain), rel=1e-15)


def rows(columns: dict[str, np.ndarray], *metrics: Any, **options: Any) -> dict[str, Any]:
    """Values of metrics that keep rows, of arrays; the model hands on what it is given."""
    import harness

    found = harness.evaluate(lambda score: score, columns, list(metrics), label="label", inputs=["score"], **options)
    assert not found.reasons
    return dict(found)


@pytest.mark.parametrize("dtype", list(TINY))
def test_classes_and_labels_are_told_by_tiny_scores(dtype):
    rng = np.random.default_rng(4)
    score = (rng.integers(0, 1000, (N, 4)) * TINY[dtype]).astype(dtype)
    label = rng.integers(0, 4, N)
    best = exact(score).argmax(axis=1)
    assert value_of("accuracy", label, score) == accuracy_score(label, best)
    rank = (exact(score) > exact(score)[np.arange(N), label][:, None]).sum(axis=1)
    ties = np.array([(row[:y] == row[y]).sum() for row, y in zip(score, label, strict=True)])
    assert value_of("top_k", label, score, k=2) == float((rank + ties < 2).mean())
    positive = rng.integers(0, 2, (N, 4))
    positive[:, 0], positive[:, 1] = 0, 1
    assert value_of("ranking_loss", positive, score) == pytest.approx(label_ranking_loss(positive, exact(score)), rel=1e-14)
    assert value_of("coverage_error", positive, score) == pytest.approx(coverage_error(positive, exact(score)), rel=1e-14)
    assert value_of("exact_match", (score > 0).astype(int), score, threshold=0.0) == 1.0
    table = value_of("counts_at_thresholds", label % 2, score[:, 1], thresholds=[0.0])
    tp, fp = table.rows[0][1:3]
    assert (tp, fp) == (int(((score[:, 1] > 0) & (label % 2 == 1)).sum()), int(((score[:, 1] > 0) & (label % 2 == 0)).sum()))


@pytest.mark.parametrize("dtype", list(TINY))
def test_logits_next_to_zero_are_ordered(dtype):
    label, score = scores(dtype)
    two = np.stack([score[::-1], score], axis=1)
    odds = exact(two[:, 1]) - exact(two[:, 0])
    metric = {"roc_auc": {"from_logits": True}}
    for logits, order in ((score, exact(score)), (two, odds)):
        found = rows({"score": logits, "label": label}, metric)
        assert found["roc_auc"] == pytest.approx(roc_auc_score(label, order), rel=1e-14)


@pytest.mark.parametrize("dtype", list(TINY))
def test_quantiles_and_ranks_of_tiny_numbers(dtype):
    from scipy.stats import spearmanr

    rng = np.random.default_rng(6)
    label, output = ((rng.integers(-500, 500, N) * TINY[dtype]).astype(dtype) for _ in range(2))
    error = output.astype(np.float64) - label.astype(np.float64)  # NumPy on this thread flushes nothing
    asked = [{"quantile": {"q": q, "of": "error", "method": "inverted_cdf", "name": f"q{q}"}} for q in (0.1, 0.5, 0.77)]
    found = rows({"score": output, "label": label}, "median_absolute_error", "spearman", *asked)
    assert found["median_absolute_error"] == pytest.approx(float(np.median(abs(error))), rel=1e-13, abs=0)
    for q in (0.1, 0.5, 0.77):
        assert found[f"q{q}"] == float(np.quantile(error, q, method="inverted_cdf"))
    assert found["spearman"] == pytest.approx(spearmanr(exact(label), exact(output)).statistic, rel=1e-12)


def test_a_label_next_to_zero_is_no_class():
    assert "1 labels are NaN or out of range" in reason_of(
        "accuracy", np.array([1e-39, 1.0], np.float32), np.array([0.2, 0.9], np.float32)
    )


WEIGHTED = ["accuracy", "brier", "mean_absolute_error"]
LABEL, SCORE, WEIGHT = np.array([1, 1, 0, 0]), np.array([0.1, 0.9, 0.8, 0.3]), np.array([1.1, 2.2, 3.3, 0.7])


@pytest.mark.parametrize("metric", WEIGHTED)
@pytest.mark.parametrize("unit", [1e-24, 1e-38, 1e-310])
def test_weights_too_small_for_the_grid_make_the_value_null(metric, unit):
    reason = reason_of(metric, LABEL, SCORE, WEIGHT * unit)
    assert reason.startswith("4 weights are below 2.6e-23") and "power of two" in reason


@pytest.mark.parametrize("metric", WEIGHTED)
def test_weights_on_the_grid_are_as_good_as_any(metric):
    # By a power of two: the same value, to the last bit but that of the grid.
    found = value_of(metric, LABEL, SCORE, np.ldexp(WEIGHT, -40))
    assert found == pytest.approx(value_of(metric, LABEL, SCORE, WEIGHT), rel=1e-15)


@pytest.mark.parametrize("unit", [1e-38, 1e-300])
def test_what_counts_rows_takes_weights_of_any_size(unit):
    found = rows({"score": SCORE, "label": LABEL, "w": WEIGHT * unit}, "roc_auc", weight="w")["roc_auc"]
    assert found == pytest.approx(roc_auc_score(LABEL, SCORE, sample_weight=WEIGHT), rel=1e-15)


def test_a_tiny_weight_among_others_is_no_reason():
    weight = np.array([1.0, 2.0, 1e-39, 3.0])
    found = value_of("accuracy", LABEL, SCORE, weight)
    assert found == accuracy_score(LABEL, SCORE > 0.5, sample_weight=weight)
    zero = reason_of("accuracy", LABEL, SCORE, np.zeros(4))
    assert zero == "the total weight is zero"  # not small: zero


def test_float32_weights_next_to_zero_are_seen():
    assert reason_of("accuracy", LABEL, SCORE, (WEIGHT * 1e-40).astype(np.float32)).startswith("4 weights are below")


def test_means_that_the_grid_leaves_no_digits_of_are_null():
    tiny = np.array([1e-39, 2e-39, 3e-39], np.float64)
    assert "too small for a grid of 2^-128" in reason_of("mean_absolute_error", np.zeros(3), tiny)
    assert "too small for a grid of 2^-128" in reason_of("mean_squared_error", np.zeros(3), np.sqrt(tiny))
    assert "too small for a grid of 2^-128" in reason_of("mean_absolute_error", np.zeros(3), tiny * 1e9)  # 8 good digits
    assert value_of("mean_absolute_error", np.zeros(3), tiny * 1e16) == pytest.approx(2e-23, rel=1e-15, abs=0)
    assert value_of("mean_absolute_error", np.zeros(3), np.ldexp([1.0, 2.0, 6.0], -120)) == 3 * 2.0**-120  # on the grid
    assert value_of("mean_absolute_error", np.zeros(3), np.zeros(3)) == 0.0
    assert "differ by less" in reason_of("r2", tiny * 1e20, tiny * 2e20)
    assert reason_of("r2", np.ones(3), tiny) == "all labels are equal"
    assert "too small" in reason_of("weighted_absolute_percentage_error", tiny, 2 * tiny)


def test_no_standard_error_is_made_of_what_the_grid_took():
    values = np.array([1.0, 2.0, 4.0])
    found = result_of("mean_absolute_error", np.zeros(3), values * 1e-19)
    assert found.value == pytest.approx(7e-19 / 3, rel=1e-12) and found.standard_error is None
    whole = result_of("mean_absolute_error", np.zeros(3), values)
    assert whole.standard_error == pytest.approx(float(values.std(ddof=1) / math.sqrt(3)), rel=1e-14)
    weighted = result_of("mean_absolute_error", np.zeros(3), values, np.full(3, 1e-19))
    assert weighted.value == pytest.approx(7 / 3, rel=1e-12) and weighted.standard_error is None


VANISHING = [
    "root_mean_squared_error", "mean_squared_error", "mean_absolute_error", "huber", "log_cosh", "pinball",
    "mean_squared_log_error", "mean_bias",
]  # fmt: skip


@pytest.mark.parametrize("metric", VANISHING)
@pytest.mark.parametrize("unit", [1e-39, 1e-160, 1e-310])
@pytest.mark.parametrize("weights", [None, np.array([1.0, 0.3, 7.0])])
def test_an_error_that_vanishes_is_no_perfect_prediction(metric, unit, weights):
    label, predicted = np.array([1.0, 3.0, 2.0]) * unit, np.array([2.0, 1.0, 2.0]) * unit
    reason = reason_of(metric, label, predicted, weights)
    assert "grid of 2^-128" in reason, reason
    if metric != "mean_bias":  # a difference of two sums
        assert value_of(metric, label, label, weights) == 0.0


def test_digits_that_the_grid_takes_are_missed():
    label, predicted = np.array([1e-24, 3e-24], np.float32), np.array([2e-24, 1e-24], np.float32)
    assert "grid of 2^-128" in reason_of("root_mean_squared_error", label, predicted)
    # A float32 has 24 binary digits: these lie on the grid, and every one of them is there.
    error = np.abs(label.astype(np.float64) - predicted.astype(np.float64))
    assert value_of("mean_absolute_error", label, predicted) == float(error.mean())
    assert "grid of 2^-128" in reason_of("brier", np.zeros(3, int), np.array([1e-20, 3e-20, 2e-20]))
    assert "grid of 2^-128" in reason_of("mean_absolute_error", np.zeros(2), np.array([1e-30 / 3, 1e-30]))


@pytest.mark.parametrize("metric", ["r2", "explained_variance", "pearson", "concordance"])
def test_labels_that_vanish_are_not_called_equal(metric):
    label, predicted = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.1, 2.3, 2.9, 4.2])
    wanted = value_of(metric, label, predicted)
    for unit in (1e-17, 1e-22, 1e-160):
        reason = reason_of(metric, label * unit, predicted * unit)
        assert "differ by less than sums on a grid of 2^-128 resolve" in reason, reason
    assert value_of(metric, label * 1e-10, predicted * 1e-10) == pytest.approx(wanted, rel=1e-12)
    assert "differ by less" not in reason_of(metric, np.ones(4), np.ones(4))


@pytest.mark.parametrize("metric", ["variance", "standard_deviation"])
def test_a_spread_that_vanishes_is_no_zero(metric):
    import harness

    for values in ([1e-30, 2e-30], [1e-170, 3e-170], [1e-310, 2e-310]):
        found = harness.evaluate(lambda x: x, {"x": np.array(values)}, [metric], inputs=["x"])
        assert "differ by less than sums on a grid" in found.reasons[metric]
    assert harness.evaluate(lambda x: x, {"x": np.array([0.1, 0.1])}, [metric], inputs=["x"])[metric] == 0.0


def test_a_tiny_error_among_others_is_no_reason():
    predicted = np.array([1.0, 1e-39, 1e-310, 0.5])
    assert value_of("mean_absolute_error", np.zeros(4), predicted) == 0.375
    assert value_of("mean_squared_error", np.zeros(4), predicted) == 0.3125
    # Confidences next to zero make no gap of a bin that matters.
    score, label = np.array([1e-39, 1e-30, 0.75, 0.75]), np.array([0, 0, 1, 0])
    assert value_of("expected_calibration_error", label, score, positive=1) == pytest.approx(0.125, rel=1e-15)
    curve = value_of("reliability_curve", label, score, positive=1)
    assert curve.rows[0][2:] == (2, None, 0.0) and curve.rows[1][2:] == (2, 0.75, 0.5)
    assert "too small" in reason_of("expected_calibration_error", label[:2], score[:2], positive=1)


def test_confidences_of_sorted_bins_are_summed_however_small():
    score, label = np.array([1e-39, 1e-30, 3e-50, 2e-310]), np.array([0, 0, 0, 0])
    found = rows({"score": score, "label": label}, {"equal_mass_expected_calibration_error": {"positive": 1, "bins": 2}})
    assert found["equal_mass_expected_calibration_error"] == pytest.approx(math.fsum(score) / 4, rel=1e-15, abs=0)


def test_a_weight_of_a_class_that_vanishes_makes_its_share_null():
    weight = np.array([1.0, 2.0, 3.0, 1e-39])
    label, found = np.array([0, 1, 0, 2]), np.eye(3)[[0, 1, 1, 1]]
    assert value_of("accuracy", label, found, weight) == pytest.approx(0.5)
    assert value_of("cohen_kappa", label, found, weight) == value_of("cohen_kappa", label[:3], found[:3], weight[:3])
    assert "too small for a grid" in reason_of("recall", label, found, weight)


def test_slices_and_replicates_see_what_vanishes():
    import harness

    rng = np.random.default_rng(3)
    part = np.arange(40) % 2
    predicted = rng.random(40) * np.where(part == 0, 1.0, 1e-30)
    found = harness.evaluate(
        lambda score: score,
        {"score": predicted, "label": np.zeros(40), "part": part},
        ["mean_absolute_error"],
        label="label",
        inputs=["score"],
        slices=["part"],
        bootstrap={"replicates": 50, "seed": 1},
    )
    assert found["mean_absolute_error"] == pytest.approx(float(predicted.sum()) / 40)
    document = found.document
    assert document["intervals"]["mean_absolute_error"]["low"] is not None
    large, tiny = (entry["metrics"]["mean_absolute_error"] for entry in document["slices"])
    assert large["value"] == pytest.approx(float(predicted[::2].mean())) and tiny["value"] is None
    assert "too small for a grid of 2^-128" in tiny["reason"]

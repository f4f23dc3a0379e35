"""Regression, binary, calibration and health metrics in a whole run: right, and the same bytes at any number of ranks."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import scale

OFFSET = 1e8
METRICS = [
    {name: {"output": "amount", "label": "target", **options}}
    for name, options in (
        ("mean_squared_log_error", {}), ("root_mean_squared_log_error", {}), ("mean_absolute_percentage_error", {}),
        ("symmetric_mean_absolute_percentage_error", {}), ("weighted_absolute_percentage_error", {}), ("huber", {}),
        ("log_cosh", {}), ("pinball", {"alpha": 0.9}), ("poisson_deviance", {}), ("gamma_deviance", {}),
        ("tweedie_deviance", {"power": 1.5}),
    )
] + [
    {name: {"output": "wide", "label": "wide_target", "name": name}}
    for name in ("explained_variance", "pearson", "concordance", "mean_bias", "cosine_similarity", "fid")
] + [
    {name: {"output": output, "from_logits": output == "logit", "name": f"{name} of {output}"}}
    for output in ("probability", "logit")
    for name in (
        "log_loss", "normalised_entropy", "brier", "calibration_ratio", "binary_accuracy", "counts_at_thresholds",
        "binned_roc_auc", "binned_average_precision", "expected_calibration_error", "maximum_calibration_error",
        "reliability_curve", "perplexity", "equal_mass_expected_calibration_error",
    )
] + [
    {name: {"output": "wide"}}
    for name in ("nan_count", "infinity_count", "zero_count", "variance", "standard_deviation")
] + [
    {name: {"output": "wide", "label": "wide_target", "multioutput": how, "name": f"{name} {how}"}}
    for name in ("mean_squared_error", "r2", "explained_variance", "median_absolute_error")
    for how in ("uniform", "raw")
] + [{"histogram": {"output": "probability", "bins": 7}}]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with model, data and job; and what the model returns, with the labels, by name."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("families")
    raw, y = load_breast_cancer(return_X_y=True)
    x = scale(raw)
    fitted = LogisticRegression(C=1e-3).fit(x, y)
    weights, bias = fitted.coef_[0], fitted.intercept_[0]

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 30], tf.float64, name="x")])
        def serve(self, x):
            logit = tf.reduce_sum(x * tf.constant(weights), axis=1) + bias
            return {
                "logit": logit, "probability": tf.sigmoid(logit), "amount": 20 * tf.exp(x[:, 0] / 4),
                "wide": x[:, :3] + OFFSET,
            }  # fmt: skip

    model = Model()
    tf.saved_model.save(model, str(folder / "model"), signatures={"serving_default": model.serve})
    features = {"x": x, "label": y, "target": raw[:, 0], "wide_target": x[:, 1:4] + OFFSET}
    np.savez(folder / "data.npz", **features)
    job = {
        "model": "model",
        "data": {"files": ["data.npz"], "inputs": {"x": "x"}, "label": "label"},
        "batch_size": 32, "chunk_size": 96, "metrics": METRICS,
    }  # fmt: skip
    (folder / "job.yaml").write_text(json.dumps(job))
    outputs = {name: tensor.numpy() for name, tensor in model.serve(tf.constant(x)).items()}
    return folder, {**features, **outputs}


def _run(folder: Path, ranks: int) -> bytes:
    command = [str(Path(sys.executable).with_name("harness"))]
    if ranks > 1:
        command += ["launch", "-np", str(ranks), "--"]
    output = folder / f"run-{ranks}"
    done = subprocess.run(
        [*command, "evaluate", str(folder / "job.yaml"), "-o", str(output)],
        capture_output=True, text=True, timeout=300, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return (output / "metrics.json").read_bytes()


@pytest.mark.ranks
def test_right_and_the_same_bytes(data):
    folder, found = data
    alone = _run(folder, 1)
    values: dict[str, Any] = {key: entry["value"] for key, entry in json.loads(alone)["metrics"].items()}
    assert [key for key, value in values.items() if value is None] == []

    target, amount, y, p = found["target"], found["amount"], found["label"], found["probability"]
    oracles = {
        "mean_squared_log_error": sk.mean_squared_log_error(target, amount),
        "mean_absolute_percentage_error": sk.mean_absolute_percentage_error(target, amount),
        "pinball": sk.mean_pinball_loss(target, amount, alpha=0.9),
        "poisson_deviance": sk.mean_poisson_deviance(target, amount),
        "gamma_deviance": sk.mean_gamma_deviance(target, amount),
        "tweedie_deviance": sk.mean_tweedie_deviance(target, amount, power=1.5),
        **{f"log_loss of {output}": sk.log_loss(y, p) for output in ("probability", "logit")},
        **{f"brier of {output}": sk.brier_score_loss(y, p) for output in ("probability", "logit")},
        **{f"perplexity of {output}": math.exp(sk.log_loss(y, p)) for output in ("probability", "logit")},
        **{f"binary_accuracy of {output}": sk.accuracy_score(y, p > 0.5) for output in ("probability", "logit")},
    }
    for key, oracle in oracles.items():
        assert values[key] == pytest.approx(oracle, rel=1e-12), key
    for output in ("probability", "logit"):
        area = values[f"binned_roc_auc of {output}"]
        assert area["low"] <= sk.roc_auc_score(y, p) <= area["high"]

    # three outputs an example, at an offset of 1e8: exact all the same
    wide = [Fraction(float(v)) for v in found["wide"].ravel()]
    mean = sum(wide) / len(wide)
    assert values["variance"] == float(sum((v - mean) ** 2 for v in wide) / len(wide))
    deviations = found["wide"].ravel() - OFFSET, found["wide_target"].ravel() - OFFSET
    assert values["pearson"] == pytest.approx(np.corrcoef(*deviations)[0, 1], rel=1e-12)
    assert values["explained_variance"] == pytest.approx(sk.explained_variance_score(deviations[1], deviations[0]), rel=1e-12)
    assert values["nan_count"] == 0
    apart = {name: column.reshape(-1, 3) for name, column in zip(("p", "y"), deviations, strict=True)}
    for name, oracle in (("r2", sk.r2_score), ("median_absolute_error", sk.median_absolute_error)):
        assert values[f"{name} uniform"] == pytest.approx(oracle(apart["y"], apart["p"]), rel=1e-10)
        raw = oracle(apart["y"], apart["p"], multioutput="raw_values")
        assert list(values[f"{name} raw"].values()) == pytest.approx(raw, rel=1e-10)

    for ranks in (2, 3, 5):
        assert _run(folder, ranks) == alone

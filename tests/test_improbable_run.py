"""Scores that are no probabilities through whole runs: slices, replicates, weights and rows carry what is counted apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sk

import harness
from harness.errors import ShapeError
from tests.metrics.reducing import Mean

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(7)
COUNT = 120
LABEL, PART = RNG.integers(0, 3, COUNT), np.arange(COUNT) % 3
SCORES = RNG.dirichlet(np.ones(3) * 2, COUNT).astype(np.float32)
SPOILED = SCORES.copy()
SPOILED[4] = 7.0, -2.0, -4.0  # part 1
SPOILED[7] = 0.25, 0.25, 0.25  # part 1
SPOILED[8] = 0.5, 3.0, -2.5  # part 2
SPOILED[11, LABEL[11]] = 0.0  # part 2: impossible, where it sums to 1
SPOILED[11] /= SPOILED[11].sum()
HINT = "set from_logits: true if the output holds logits"


def evaluate(scores: np.ndarray, metrics: list[Any], **more: Any) -> dict[str, Any]:
    data = {"scores": scores, "label": LABEL, "part": PART, "heft": np.linspace(0, 2, COUNT)}
    options: dict[str, Any] = {"label": "label", "inputs": ["scores"], "batch_size": 16, **more}
    return harness.evaluate(lambda scores: scores, data, metrics, **options).document


def test_slices_and_replicates_carry_what_is_counted_apart() -> None:
    metrics = ["accuracy", "cross_entropy", "equal_mass_expected_calibration_error", {"roc_auc": {"positive": 1}}]
    weighted = [{"cross_entropy": {"name": "weighted", "weight": "heft"}}]
    more: dict[str, Any] = {"slices": ["part"], "bootstrap": {"replicates": 20, "seed": 1}}
    spoiled, good = (evaluate(scores, [*metrics, *weighted], **more) for scores in (SPOILED, SCORES))
    whole = "3 predictions are no probabilities (outside [0, 1]: 1 in class 0, 1 in class 1; sum not 1: 1): " + HINT
    probable = ["cross_entropy", "equal_mass_expected_calibration_error", "weighted"]
    for key in probable:
        assert spoiled["metrics"][key] == {"value": None, "examples": COUNT - 3, "reason": whole}
        assert key not in spoiled["intervals"] and key in good["intervals"]
    reasons = {
        1: "2 predictions are no probabilities (outside [0, 1]: 1 in class 0; sum not 1: 1): " + HINT,
        2: "1 predictions are no probabilities (outside [0, 1]: 1 in class 1): " + HINT,
    }
    parts = {found["slice"]["part"]: found for found in spoiled["slices"]}
    for part, reason in reasons.items():
        assert parts[part]["examples"] == COUNT // 3
        assert all(parts[part]["metrics"][key]["reason"] == reason for key in probable)
    # Where all are probabilities nothing differs, and what has no scale is not bothered.
    assert parts[0] == next(found for found in good["slices"] if found["slice"]["part"] == 0)
    assert spoiled["metrics"]["accuracy"]["value"] == sk.accuracy_score(LABEL, SPOILED.argmax(axis=1))
    assert spoiled["metrics"]["roc_auc"]["value"] == pytest.approx(sk.roc_auc_score(LABEL == 1, SPOILED[:, 1]), rel=1e-12)
    oracle = sk.log_loss(LABEL, SCORES.astype(np.float64), sample_weight=np.linspace(0, 2, COUNT))
    assert good["metrics"]["weighted"]["value"] == pytest.approx(oracle, rel=1e-6)


def test_a_loss_without_end_is_told_of_its_slice() -> None:
    kept = np.delete(np.arange(COUNT), [4, 7, 8])
    data = {"scores": SPOILED[kept], "label": LABEL[kept], "part": PART[kept]}
    found = harness.evaluate(
        lambda scores: scores, data, ["cross_entropy"], label="label", inputs=["scores"], batch_size=16, slices=["part"],
        bootstrap={"replicates": 10},
    ).document  # fmt: skip
    text = "1 predictions give what is true a probability of 0: the loss is infinite; epsilon clips probabilities"
    assert found["metrics"]["cross_entropy"]["reason"].startswith(text)
    values = {part["slice"]["part"]: part["metrics"]["cross_entropy"] for part in found["slices"]}
    assert values[0]["value"] and values[1]["value"] and values[2]["reason"].startswith(text)


def test_an_own_metric_that_reduces_over_the_batch() -> None:
    """It was broadcast: one value at batches of 7, another at 64, neither of them true."""
    for batch_size in (7, 64):
        with pytest.raises(ShapeError, match=r"metric Mean: term 'error' is one number, \[\], expected \[N\].*reducing\.py:\d+"):
            harness.evaluate(
                lambda scores: scores, {"scores": LABEL / 2, "label": LABEL},
                [{"python": {"metric": "tests.metrics.reducing:Mean", "label": "label"}}],
                inputs=["scores"], batch_size=batch_size,
            )  # fmt: skip
    assert Path(Mean.terms.__code__.co_filename).name == "reducing.py"

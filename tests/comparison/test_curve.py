"""Curves of checkpoints: their steps, the best, and how much the choice of it flatters."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from scipy.stats import binomtest

import harness
from harness.comparison.curve import curves, optimism, steps
from harness.comparison.curve_command import Curves
from harness.comparison.curve_documents import sentence
from harness.comparison.sides import WHOLE, Number
from harness.errors import UsageError
from harness.metrics.direction import Better
from tests import schemas
from tests.comparison.test_baselines import command
from tests.comparison.test_compare import run
from tests.comparison.test_gate import REPLICATES, side


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["sweep/10-model.keras", "sweep/9-model.keras"], [10, 9]),
        (["epoch=1-step=400", "epoch=1-step=1200"], [400, 1200]),
        (["a.step_0100.v2", "a.step_0020.v3"], [100, 20]),
        (["epoch-03-loss-0.45", "epoch-04-loss-0.41"], [3, 4]),
        (["2024-ckpt-7", "2024-ckpt-11"], [7, 11]),
    ],
)
def test_the_step_is_in_the_name(names, expected):
    assert steps(names) == expected


@pytest.mark.parametrize("names", [["before", "after"], ["v1", "v1b"], ["ckpt-1", "last"]])
def test_names_without_steps_are_refused(names):
    with pytest.raises(UsageError, match="the names tell no steps"):
        steps(names)


@pytest.mark.parametrize("better", [Better.HIGHER, Better.LOWER])
def test_optimism_is_that_of_the_best_in_each_replicate(better):
    rng = np.random.default_rng(3)
    values = rng.normal(size=7)
    drawn = values[:, None] + rng.normal(size=(7, 50))
    drawn[2, 5] = np.nan
    drawn[:, 6] = np.nan  # null in all
    sign = 1 if better is Better.HIGHER else -1
    luck, wins, whole = [], [0] * 7, max(range(7), key=lambda at: sign * values[at])
    for column in drawn.T:
        known = {at: sign * value for at, value in enumerate(column.tolist()) if value == value}
        if whole in known:
            best = max(known, key=known.__getitem__)
            luck.append(known[best] - sign * values[best] - (known[whole] - sign * values[whole]))
            wins[best] += 1
    amount, shares = optimism(values.tolist(), drawn, better)
    assert (amount, shares) == (pytest.approx(np.mean(luck)), pytest.approx([count / len(luck) for count in wins])) and amount > 0


def test_the_correction_takes_a_part_of_the_flattery():
    """Twelve checkpoints as good as each other, of independent errors: the best looks too good by 1.63 of its error."""
    rng, errors, flattery, left = np.random.default_rng(0), 0.01, [], []
    for _ in range(300):
        values = 0.9 + errors * rng.normal(size=12)
        amount, _ = optimism(values.tolist(), values[:, None] + errors * rng.normal(size=(12, 200)), Better.HIGHER)
        flattery.append(values.max() - 0.9)
        left.append(values.max() - amount - 0.9)
    assert np.mean(flattery) == pytest.approx(1.63 * errors, rel=0.05)
    assert 0 < np.mean(left) < 0.6 * np.mean(flattery)
    assert optimism([0.1, 0.9], np.array([[0.1, 0.2], [0.8, 0.7]]), Better.HIGHER) == (0.0, [0.0, 1.0])


def checkpoint(name: str, value: float | None, seed: int):
    """A side whose cross entropy moves with the examples, and a little by itself."""
    drawn = None if value is None else value + np.random.default_rng(0).normal(scale=0.05, size=REPLICATES)
    if drawn is not None:
        drawn = drawn + np.random.default_rng(seed).normal(scale=0.005, size=REPLICATES)
    reason = "0/0" if value is None else None
    return side({WHOLE: {"cross_entropy": Number(value, reason, 1000, 0.05, drawn)}}, name)


def test_a_curve_says_what_is_best_and_what_cannot_be_told_from_it():
    sides = [checkpoint(f"step-{step}", value, step) for step, value in ((300, 0.301), (100, 0.5), (400, None), (200, 0.3))]
    (curve,) = curves(sides)
    assert [point.step for point in curve.points] == [100, 200, 300, 400] and curve.best == 1
    assert [point.is_alike for point in curve.points] == [False, None, True, None]
    shares = [point.best_share for point in curve.points]
    assert shares[0] == 0 and shares[3] is None and sum(shares[:3]) == 1 and shares[1] > shares[2] > 0.2
    assert 0 < curve.optimism < 0.01 and curve.corrected == 0.3 + curve.optimism  # less is better
    low, high = curve.points[1].bounds.low, curve.points[1].bounds.high
    assert [low, high] == pytest.approx(np.quantile(curve.points[1].number.replicates, [0.025, 0.975], method="weibull").tolist())
    words = sentence(curve)
    assert words.startswith("cross entropy: best at step 200, cannot be told from 300, not tested against 400; chosen by these")
    unkept = [checkpoint(f"step-{step}", 0.3, step) for step in (1, 2)]
    unkept[1].numbers[WHOLE]["cross_entropy"] = Number(0.4, None, 1000)
    (curve,) = curves(unkept)
    assert (curve.optimism, curve.corrected) == (None, None)
    assert sentence(curve).endswith(
        "not tested against 2; how much the choice flatters it is not known: not all runs have kept as many replicates"
    )


def test_the_command_writes_all_forms(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "step-1", 0.8, 11, metrics=["accuracy", "cross_entropy", "ece"])
    run(tmp_path / "step-20", 0.0, 0, metrics=["accuracy", "cross_entropy", "ece"])
    shutil.copytree("step-20", "step-3")  # the very same model: nothing tells them apart
    arguments = ("compare", "--curve", "step-20", "step-1", "step-3", "--metrics", "accuracy,nll,ece")
    code, text = command(*arguments, "-o", "curve.json", "-o", "curve.csv", "-o", "curve.md")
    assert code == 0 and "cross entropy: best at step 3, not tested against 20, and the best in every replicate" in " ".join(
        text.split()
    )
    found = json.loads((tmp_path / "curve.json").read_text())
    schemas.check("curve.json", (tmp_path / "curve.json").read_text())
    by_metric = {curve["metric"]: curve for curve in found["curves"]}
    assert [point["step"] for point in by_metric["accuracy"]["points"]] == [1, 3, 20]
    document = json.loads((tmp_path / "step-1" / "metrics.json").read_text())
    shown, entry, point = document["intervals"]["accuracy"], document["metrics"]["accuracy"], by_metric["accuracy"]["points"][0]
    assert (point["low"], point["high"]) == (shown["low"], shown["high"])  # as `harness show` has it
    (other,) = Curves.of([tmp_path / "step-1", tmp_path / "step-20"], metrics=["accuracy"], level=0.9).curves
    exact = binomtest(round(entry["value"] * entry["examples"]), entry["examples"]).proportion_ci(0.9, "exact")
    assert (other.points[0].bounds.low, other.points[0].bounds.high) == pytest.approx((exact.low, exact.high))
    assert "biased" in by_metric["expected_calibration_error"]["reason"]
    assert (tmp_path / "curve.csv").read_text().startswith("metric,label,step,run,value,low,high,examples,best_share,")
    assert "| step | run | cross entropy | interval | best in |" in (tmp_path / "curve.md").read_text()
    answer = harness.compare_checkpoints("step-1", tmp_path / "step-20", "step-3", metrics=["accuracy", "nll", "ece"])
    assert answer.text("json") == (tmp_path / "curve.json").read_text()
    assert "** the best" in repr(answer) and "<th" in answer._repr_html_()
    assert command(*arguments, "-o", "curve.tex") == (2, "-o curve.tex: expected a file that ends with .json, .csv, .md")

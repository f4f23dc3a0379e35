"""Regression over several outputs, against scikit-learn: averaged, raw, pooled; weights, slices, replicates."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

import harness
from harness.errors import ShapeError
from harness.exact.draws import multiplicities
from tests.metrics.scored import result, value

EXAMPLES, OUTPUTS, REPLICATES, SEED = 90, 3, 4, 5
RNG = np.random.default_rng(8)
SCALES = np.array([1.0, 30.0, 0.02])  # pooled, the second would be all there is
LABELS = RNG.gamma(2.0, 2.0, [EXAMPLES, OUTPUTS]) * SCALES
PREDICTIONS = LABELS * RNG.lognormal(0.0, 0.4, [EXAMPLES, OUTPUTS])
WEIGHTS = RNG.choice([0.0, 0.25, 1.0, 3.5], EXAMPLES)
PART = RNG.integers(0, 2, EXAMPLES)
ORACLES: dict[str, Any] = {
    "mean_absolute_error": sk.mean_absolute_error,
    "mean_squared_error": sk.mean_squared_error,
    "root_mean_squared_error": sk.root_mean_squared_error,
    "mean_squared_log_error": sk.mean_squared_log_error,
    "root_mean_squared_log_error": sk.root_mean_squared_log_error,
    "mean_absolute_percentage_error": sk.mean_absolute_percentage_error,
    "median_absolute_error": sk.median_absolute_error,
    "pinball": lambda y, p, **more: sk.mean_pinball_loss(y, p, alpha=0.8, **more),
    "r2": sk.r2_score,
    "explained_variance": sk.explained_variance_score,
}
OPTIONS = {"pinball": {"alpha": 0.8}}
SKLEARN = {"uniform": "uniform_average", "raw": "raw_values"}


def expected(name: str, how: str, chosen: Any, weights: Any) -> Any:
    """What scikit-learn says of some examples; of raveled arrays where all is pooled."""
    y, p = LABELS[chosen], PREDICTIONS[chosen]
    w = None if weights is None else weights[chosen]
    if how == "pooled":
        return ORACLES[name](y.ravel(), p.ravel(), sample_weight=None if w is None else np.repeat(w, OUTPUTS))
    return ORACLES[name](y, p, sample_weight=w, multioutput=SKLEARN[how])


def close(found: Any, right: Any) -> bool:
    """Compare a number, or a mapping by output, with scikit-learn's number or array."""
    found = [found[str(k)] for k in range(OUTPUTS)] if isinstance(found, dict) else found
    return found == pytest.approx(right, rel=1e-12, abs=1e-15)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Evaluate all of them in every way; return the document and the replicates."""
    folder = tmp_path_factory.mktemp("multioutput") / "run"
    listed = [
        {name: {**OPTIONS.get(name, {}), "multioutput": how, "weight": weight, "name": f"{name} {how} {bool(weight)}"}}
        for name in ORACLES
        for how in ("pooled", "uniform", "raw")
        for weight in (False, "weight")
    ]
    data = {"x": PREDICTIONS, "y": LABELS, "weight": WEIGHTS, "part": PART}
    harness.evaluate(
        lambda x: x, data, listed, label="y", inputs={"x": "x"}, output=folder, chunk_size=32, batch_size=16,
        slices={"by": [["part"]], "maximum": 2}, bootstrap={"replicates": REPLICATES, "seed": SEED},
    )  # fmt: skip
    return json.loads((folder / "metrics.json").read_text()), dict(np.load(folder / "replicates.npz"))


CASES = [(name, how, weighted) for name in ORACLES for how in ("pooled", "uniform", "raw") for weighted in (False, True)]


@pytest.mark.parametrize("name, how, weighted", CASES)
def test_it_is_scikit_learns(run, name, how, weighted):
    document, replicates = run
    key, weights = f"{name} {how} {weighted}", WEIGHTS if weighted else None
    everyone = np.ones(EXAMPLES, bool)
    entry = document["metrics"][key]
    assert close(entry["value"], expected(name, how, everyone, weights)), entry
    assert entry["examples"] == EXAMPLES and ("positions" in entry) == (how == "pooled")
    for part in document["slices"]:
        chosen = part["slice"]["part"] == PART
        assert close(part["metrics"][key]["value"], expected(name, how, chosen, weights)), part["slice"]
    drawn = multiplicities(np.arange(EXAMPLES), SEED, REPLICATES).astype(np.float64)
    for draw in range(REPLICATES):
        times = drawn[:, draw] * (1.0 if weights is None else weights)
        right = expected(name, how, everyone, times)
        got = [replicates[f"{key}/{k}"][draw] for k in range(OUTPUTS)] if how == "raw" else replicates[key][draw]
        assert got == pytest.approx(right, rel=1e-12, abs=1e-15)


def test_pooled_is_not_what_scikit_learn_averages():
    """The numbers of the page's warning: the pooled R2 of outputs of other scales is another number."""
    pooled, uniform = (value("r2", LABELS, PREDICTIONS, multioutput=how) for how in ("pooled", "uniform"))
    assert value("r2", LABELS, PREDICTIONS) == pooled != pytest.approx(uniform, rel=0.05)
    assert uniform == pytest.approx(sk.r2_score(LABELS, PREDICTIONS), rel=1e-12)


def test_the_last_dimension_is_the_outputs():
    y, p = LABELS.reshape(30, 3, OUTPUTS), PREDICTIONS.reshape(30, 3, OUTPUTS)
    raw = value("r2", y, p, multioutput="raw")
    assert list(raw.values()) == pytest.approx(sk.r2_score(LABELS, PREDICTIONS, multioutput="raw_values"), rel=1e-12)
    found = result("r2", y, p, multioutput="raw", weights=np.ones([30, 3]))
    assert (found.value, found.positions, found.examples) == (raw, 90, 30)


@pytest.mark.parametrize("shape", [(EXAMPLES, OUTPUTS), (EXAMPLES, OUTPUTS, 1)])
def test_a_last_dimension_of_one_may_be_there_or_not(shape):
    assert value("r2", LABELS, PREDICTIONS.reshape(shape), multioutput="raw") == value(
        "r2", LABELS, PREDICTIONS, multioutput="raw"
    )


@pytest.mark.parametrize("shape", [(EXAMPLES,), (EXAMPLES, 1)])
def test_one_output_is_one_output(shape):
    y, p = LABELS[:, 0].reshape(shape), PREDICTIONS[:, 0]
    pooled = value("r2", y, p)
    assert value("r2", y, p, multioutput="uniform") == pooled and value("r2", y, p, multioutput="raw") == {"0": pooled}


def test_an_output_without_a_value():
    labels = LABELS.copy()
    labels[:, 1] = 4.0
    raw = value("r2", labels, PREDICTIONS, multioutput="raw")
    assert raw["1"] is None and raw["0"] == value("r2", labels[:, 0], PREDICTIONS[:, 0])
    assert result("r2", labels, PREDICTIONS, multioutput="uniform").reason == "output 1: all labels are equal"
    constant = np.ones_like(labels)
    assert "output 2: all labels are equal" in result("r2", constant, PREDICTIONS, multioutput="raw").reason


def test_a_number_that_is_nan_takes_its_position_out():
    labels = LABELS.copy()
    labels[4, 1] = np.nan
    found = result("mean_absolute_error", labels, PREDICTIONS, multioutput="raw")
    assert (found.reason, found.examples) == ("1 labels are NaN or out of range", EXAMPLES - 1)


def test_weights_of_outputs_are_refused():
    with pytest.raises(ShapeError, match=r"one per output.*multioutput: raw"):
        result("r2", LABELS, PREDICTIONS, multioutput="uniform", weights=np.ones_like(LABELS))


def test_the_mean_of_several_outputs_has_no_closed_error():
    assert result("mean_absolute_error", LABELS, PREDICTIONS).standard_error is not None
    assert result("mean_absolute_error", LABELS, PREDICTIONS, multioutput="uniform").standard_error is None

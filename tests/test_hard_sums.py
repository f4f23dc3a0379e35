"""What float32 and float64 sums get wrong, through whole runs: ten million values, and an offset of 10^8."""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, start

MANY, FEW = 10_000_000, 1_500
UNIT = 2.0**-8  # all of the many values are multiples of it
OFFSET = 1e8
MOMENTS = ("r2", "pearson", "explained_variance", "concordance")


def many() -> np.ndarray:
    """Float32 values whose sum in float32 stands still once it is large: a few huge ones, then millions of small ones."""
    values = np.random.default_rng(7).integers(1, 2**8, MANY).astype(np.float32) * np.float32(UNIT)
    values[:100] = 2.0**24
    return values


def few() -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions that differ in their tenth digit."""
    random = np.random.default_rng(8)
    label = random.normal(size=FEW)
    return label + OFFSET, label + 0.5 * random.normal(size=FEW) + OFFSET


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    """Values by metric, of both jobs, from one process."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("hard")
    for name, dtype in (("many", tf.float32), ("few", tf.float64)):
        module = tf.Module()
        module.say = tf.function(lambda x: {"said": tf.identity(x)}, input_signature=[tf.TensorSpec([None], dtype, name="x")])
        tf.saved_model.save(module, str(folder / name), signatures=module.say)
    label, x = few()
    np.savez(folder / "many.npz", x=many())
    np.savez(folder / "few.npz", x=x, label=label)
    jobs = {
        "many": {"metrics": ["mean"], "batch_size": 65536},
        "few": {"metrics": [*MOMENTS, "variance", "standard_deviation"], "batch_size": 32},
    }
    pairs = []
    for name, keys in jobs.items():
        data = {"files": f"{name}.npz", "inputs": {"x": "x"}, **({"label": "label"} if name == "few" else {})}
        (folder / f"{name}.yaml").write_text(json.dumps({"model": name, "data": data, **keys}))
        pairs.append(f"{folder / name}.yaml={folder / name}-run")
    done = start([sys.executable, "-m", "tests.ranks.many", *pairs], ROOT)
    assert done.code == 0, done.text
    values: dict[str, Any] = {}
    for name in jobs:
        document = json.loads(Path(f"{folder / name}-run", "metrics.json").read_text())
        values |= {key: entry["value"] for key, entry in document["metrics"].items()}
    return values


def test_the_mean_of_ten_million_values_is_the_nearest_float(found):
    values = many()
    units = int(np.sum(values.astype(np.float64) / UNIT, dtype=np.float64))  # below 2^53: exact
    naive = float(np.cumsum(values, dtype=np.float32)[-1])
    assert abs(naive / (units * UNIT) - 1) > 1e-3  # one after the other, in float32
    assert found["mean"] == float(Fraction(units) * Fraction(UNIT) / MANY)


def test_an_offset_takes_no_digit(found):
    label, x = few()
    ys, ps = [Fraction(float(v)) for v in label], [Fraction(float(v)) for v in x]
    my, mp = sum(ys) / FEW, sum(ps) / FEW
    yy, pp = sum((y - my) ** 2 for y in ys), sum((p - mp) ** 2 for p in ps)
    yp = sum((y - my) * (p - mp) for y, p in zip(ys, ps, strict=True))
    errors = [p - y for y, p in zip(ys, ps, strict=True)]
    mean_error = sum(errors) / FEW
    oracle = {
        "r2": 1 - sum(e * e for e in errors) / yy,
        "explained_variance": 1 - sum((e - mean_error) ** 2 for e in errors) / yy,
        "concordance": 2 * yp / (yy + pp + FEW * (my - mp) ** 2),
        "variance": pp / FEW,
    }
    for key, value in oracle.items():
        assert found[key] == pytest.approx(float(value), rel=1e-15), key
    assert found["pearson"] == pytest.approx(math.sqrt(yp**2 / (yy * pp)), rel=1e-15)
    assert found["standard_deviation"] == pytest.approx(math.sqrt(pp / FEW), rel=1e-15)
    # In float64, by sums of squares, hardly a digit is left.
    squares = 1 - np.sum((label - x) ** 2) / (np.sum(label * label) - label.sum() ** 2 / FEW)
    assert abs(squares / float(oracle["r2"]) - 1) > 1e-6

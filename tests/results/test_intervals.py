"""Which interval a value gets: the exact one against SciPy, that of gaps against a search, and when there is none."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy import stats

from harness.metrics.binary import BinaryAccuracy
from harness.metrics.calibration import ExpectedCalibrationError, MaximumCalibrationError
from harness.metrics.classification import Accuracy, FBeta, Precision, Recall
from harness.metrics.contract import Binding, Inputs, Proportion, Totals
from harness.metrics.extremes import Maximum
from harness.metrics.multilabel import ExactMatch, MultilabelFBeta, MultilabelRecall
from harness.metrics.ranking import HitRate
from harness.results import binomial
from harness.results.binomial import clopper_pearson, clopper_pearson_by_terms
from harness.results.differences import differences
from harness.results.files import interval_json
from harness.results.gap_interval import GapReplicates, gap_interval
from harness.results.interval_choice import Evidence, independent, interval_of
from harness.results.intervals import interval
from harness.results.outcome import Outcome
from harness.results.values import Result

BINDING = Binding(Inputs.CLASSES, "p", "y")


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (1, 50), (49, 50), (7, 23), (19, 38), (9, 10_000)])
def test_the_exact_interval_is_scipys(k, n, level):
    expected = stats.binomtest(k, n).proportion_ci(level, "exact")
    assert clopper_pearson(k, n, level) == pytest.approx((expected.low, expected.high), rel=1e-7, abs=1e-15)


def test_the_exact_interval_of_a_billion():
    # By decimals of 60 digits; SciPy's differs in the ninth.
    assert clopper_pearson(3, 10**9, 0.95)[1] == pytest.approx(8.76727304446069714e-9, rel=1e-13)
    assert 1 - clopper_pearson(10**9 - 3, 10**9, 0.95)[0] == pytest.approx(8.76727304446069714e-9, abs=1e-16)
    assert clopper_pearson(0, 10**12, 0.95)[1] == pytest.approx(-math.expm1(math.log(0.025) / 10**12), rel=1e-12)


def test_the_exact_interval_of_many_needs_few_terms(monkeypatch):
    monkeypatch.setattr(binomial, "clopper_pearson_by_terms", None)  # which adds a thousand terms two hundred times
    random = np.random.default_rng(0)
    for level in (0.01, 0.5, 0.95, 0.9999, 1 - 1e-7, 1 - 1e-13):
        tail = (1 - level) / 2
        for k in (65, 100, 1000, 20_000):
            n = k + int(k * 10 ** random.uniform(0, 4))
            expected = stats.beta.ppf(tail, k, n - k + 1), stats.beta.isf(tail, k + 1, n - k)
            assert clopper_pearson(k, n, level) == pytest.approx(expected, rel=1e-9)
            assert clopper_pearson(n - k, n, level) == pytest.approx((1 - expected[1], 1 - expected[0]), rel=1e-9)


@pytest.mark.parametrize(("k", "n", "level"), [(64, 200, 0.99), (65, 200, 0.99), (300, 601, 0.9)])
def test_both_ways_to_the_exact_interval_agree(k, n, level):
    assert clopper_pearson(k, n, level) == pytest.approx(clopper_pearson_by_terms(k, n, level), rel=1e-11)


def share(k: int, n: int) -> Proportion:
    return Proportion(Fraction(k), Fraction(n))


def replicates(k: int, n: int, count: int = 200) -> list[float | None]:
    random = np.random.default_rng(k + n)
    right, wrong = random.poisson(k, count), random.poisson(n - k, count)
    return [float(r / (r + w)) if r + w else None for r, w in zip(right, wrong, strict=True)]


def test_all_of_twenty_right_is_not_certain():
    found = interval_of(1.0, [1.0] * 200, 0.95, Evidence(share(20, 20), independent=True))
    assert (found.low, found.high) == pytest.approx((0.8315665, 1.0), abs=1e-7)  # 0.025 ** (1 / 20)
    assert found.method == "clopper-pearson" and found.reason is None
    assert (found.basic_low, found.basic_high, found.standard_error) == (None, None, None)


@pytest.mark.parametrize(("k", "n", "method"), [
    (49, 50, "clopper-pearson"), (990, 1000, "clopper-pearson"), (989, 1000, "percentile"), (12, 1000, "percentile"),
    (20, 40, "percentile"), (19, 39, "clopper-pearson"), (0, 7, "clopper-pearson"),
])  # fmt: skip
def test_the_bootstrap_is_for_proportions_with_some_of_either(k, n, method):
    drawn = replicates(k, n)
    found = interval_of(k / n, drawn, 0.95, Evidence(share(k, n), independent=True))
    assert found.method == method
    if method == "percentile":
        assert found == interval(k / n, drawn, 0.95)
    else:
        low, high = stats.binomtest(k, n).proportion_ci(0.95, "exact")
        assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9)
        assert found.standard_error == interval(k / n, drawn, 0.95).standard_error


def test_few_that_depend_on_each_other_have_no_interval():
    drawn = replicates(49, 50)
    found = interval_of(0.98, drawn, 0.95, Evidence(share(49, 50)))
    assert found.low is None and found.standard_error is None and found.method is None
    assert found.reason is not None and found.reason.startswith("n p (1 - p) is about ")
    # As many examples, in clusters: the spread is that of fewer.
    wide = [None if x is None else 0.8 + 4 * (x - 0.8) for x in replicates(80, 100)]
    assert interval_of(0.8, replicates(80, 100), 0.95, Evidence(share(80, 100))).method == "percentile"
    assert "is about 0.85, n being" in str(interval_of(0.8, wide, 0.95, Evidence(share(80, 100))).reason)
    assert "the value is 1 in every replicate" in str(interval_of(1.0, [1.0] * 50, 0.95, Evidence(share(20, 20))).reason)


def test_what_shows_no_spread_has_no_interval():
    found = interval_of(0.25, [0.25] * 199 + [None], 0.95, Evidence())
    assert (found.low, found.high, found.standard_error, found.undefined) == (None, None, None, 1)
    assert found.reason == "the value is 0.25 in every replicate: they show no spread to tell an interval by"
    assert interval_json(found)["method"] is None and interval_json(found)["reason"] == found.reason


def test_no_interval_says_why():
    found = interval_of(3.0, [1.0, 2.0, 3.0] * 20, 0.95, Evidence(no_interval="for a reason"))
    assert (found.low, found.reason) == (None, "for a reason")
    assert Maximum().no_interval is not None and MaximumCalibrationError().no_interval is not None


def test_who_is_independent():
    def told(metric: Any = None, cluster: str | None = None, examples: int = 9, positions: int = 9, **binding: Any) -> bool:
        bound = Binding(Inputs.CLASSES, "p", "y", **binding)
        return independent(metric or Accuracy(), bound, cluster, examples=examples, positions=positions)

    assert told()
    assert not told(weight="w") and not told(cluster="user") and not told(positions=18)
    assert told(HitRate(query="q")) and told(HitRate(query="q"), cluster="q", examples=3)
    assert not told(HitRate(query="q"), cluster="user") and not told(HitRate(query="q"), weight="w")


def totals(sums: dict[str, Any], n: int) -> Totals:
    return Totals({name: np.asarray(s) for name, s in sums.items()}, positions=n, weight=Fraction(n))


def test_metrics_that_are_k_of_n_say_so():
    counts = {"correct": np.array([3, 17])}
    for metric in (Accuracy(), BinaryAccuracy()):
        assert metric.proportion(totals(counts, 20)) == share(17, 20)
    assert ExactMatch().proportion(totals({"right": np.array([3, 17])}, 20)) == share(17, 20)
    classes = {"hits": np.array([5, 0]), "predicted": np.array([6, 4]), "labelled": np.array([9, 1])}
    both = totals(classes, 10)
    assert Precision(average="per_class").proportion(both) == {"0": share(5, 6), "1": share(0, 4)}
    assert Recall(average="binary", positive=0).proportion(both) == share(5, 9)
    assert Recall(average="micro").proportion(both) == share(5, 10)
    assert Recall().proportion(both) is None and FBeta(average="per_class").proportion(both) is None
    assert MultilabelRecall(average="per_class").proportion(both) == {"0": share(5, 9), "1": share(0, 1)}
    assert MultilabelFBeta(average="per_class").proportion(both) is None
    hits = totals({"score": np.array(Fraction(4), object), "weight": np.array(Fraction(5), object)}, 30)
    assert HitRate(query="q").proportion(hits) == share(4, 5)
    assert HitRate(query="q", counts=True).proportion(hits) == {"mean": share(4, 5)}


def test_gaps_add_up_to_the_error():
    bins = {"bins": np.array([3, 1, 0, 0, 2, 6]), "confidence": np.array([Fraction(3, 2), Fraction(0), Fraction(13, 2)], object)}
    metric = ExpectedCalibrationError(bins=3)
    gaps = metric.gaps(totals(bins, 12))
    assert gaps.values[[0, 2]] == pytest.approx([-0.5 / 12, -0.5 / 12], rel=1e-15) and math.isnan(gaps.values[1])
    assert np.nansum(np.abs(gaps.values)) == pytest.approx(metric.value(totals(bins, 12)), rel=1e-15)


def searched(drawn: GapReplicates, level: float, x: np.ndarray) -> tuple[float, float]:
    """The interval of gaps by trying every move."""
    noise = drawn.replicates - drawn.gaps
    spread = noise.std(axis=0)
    norm = (lambda g: np.abs(g).max(-1)) if drawn.largest else (lambda g: np.abs(g).sum(-1))
    kept = []
    for move in x:
        moved = np.sign(drawn.gaps) * np.maximum(np.abs(drawn.gaps) + move * spread, 0)
        low, high = np.quantile(norm(moved + noise), [(1 - level) / 2, (1 + level) / 2], method="weibull")
        if low <= norm(drawn.gaps) <= high:
            kept.append(norm(moved))
    return min(kept), max(kept)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("size", [0.0, 0.02, 0.2])
def test_the_interval_of_gaps_is_that_of_a_search(size, largest):
    random = np.random.default_rng(int(100 * size))
    gaps = size * random.choice([-1.0, 1.0], 6) + random.normal(0, 0.02, 6)
    drawn = GapReplicates(gaps, gaps + random.normal(0, 0.02, (300, 6)), largest)
    assert gap_interval(drawn, 0.9) == pytest.approx(searched(drawn, 0.9, np.linspace(-20, 5, 20_001)), abs=2e-4)


def test_the_interval_of_gaps_lies_lower_than_percentiles_and_reaches_zero():
    random = np.random.default_rng(3)
    gaps = random.normal(0, 0.01, 15)  # of a model that is calibrated
    drawn = GapReplicates(gaps, gaps + random.normal(0, 0.01, (200, 15)))
    values = np.abs(drawn.replicates).sum(axis=1).tolist()
    value = float(np.abs(gaps).sum())
    found = interval_of(value, values, 0.95, Evidence(gaps=drawn))
    assert found.method == "gap inversion" and found.low == 0.0 and found.high is not None and found.basic_low is None
    assert np.mean(values) > value + np.std(values)
    empty = GapReplicates(np.append(gaps, np.nan), np.column_stack([drawn.replicates, np.full(200, np.nan)]))
    assert gap_interval(empty, 0.95) == gap_interval(drawn, 0.95)


def test_differences_of_biased_values_have_no_interval():
    results = {key: Result(0.1 * n, None, 9, 9) for n, key in enumerate(("a/ece", "b/ece", "a/accuracy", "b/accuracy"), 1)}
    drawn = {key: np.random.default_rng(n).random(50) for n, key in enumerate(results)}
    outcome = Outcome(results, {}, replicates=drawn, no_difference={"a/ece": "biased", "b/ece": "biased"})
    found = {each.metric: each for each in differences(outcome, ["a", "b"], 0.95)}
    assert found["ece"].interval is not None and found["ece"].interval.reason == "biased"
    assert found["accuracy"].interval == interval(0.1 * 4 - 0.1 * 3, (drawn["b/accuracy"] - drawn["a/accuracy"]).tolist(), 0.95)
    assert found["accuracy"].interval is not None and found["accuracy"].interval.method == "percentile"


BIASED = ["ks", "normalized_mutual_info", "homogeneity", "completeness", "v_measure"]


def test_what_chance_makes_larger_has_no_interval_and_no_difference(harness, tmp_path):
    import yaml

    from tests import made

    made.save_models(tmp_path)
    made.write_tfrecord(tmp_path / "data.tfrecord", made.records(made.examples().columns()))
    job = {
        "models": {"left": str(tmp_path / "classifier"), "right": str(tmp_path / "classifier.keras")},
        "data": {"files": [str(tmp_path / "data.tfrecord")], "label": "label"},
        "metrics": [*BIASED, "adjusted_rand"],
        "bootstrap": {"replicates": 40, "seed": 5},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    done = harness("evaluate", tmp_path / "job.yaml", "-o", tmp_path / "run")
    assert done.code == 0, done.text
    document = json.loads((tmp_path / "run" / "metrics.json").read_text())
    for name in BIASED:
        assert document["metrics"][f"left/{name}"]["value"] is not None
        difference = document["differences"]["right - left"][name]["interval"]
        for entry in (document["intervals"][f"left/{name}"], difference):
            assert entry["low"] is None and entry["reason"].startswith("chance makes"), (name, entry)
    assert document["intervals"]["left/adjusted_rand"]["low"] is not None

"""What the data section of a job can ask for beyond reading: through the command line, certified."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from harness.exact.splitmix import hash_ids
from tests import formats, made
from tests.conftest import ROOT, over_ranks, start

FOUND = made.examples()
OWN = """
import tensorflow as tf
def transform(features):
    return {"shifted": features["x"] + 1.0, "x": features["x"], "label": features["label"], "weight": features["weight"]}
def heavy(features): return features["weight"] > 1.0
def third(features): return features["label"] == 3
def none(features): return features["weight"] < 0.0
"""
RIGHT = np.argmax(FOUND.x @ made.kernel(), axis=1) == FOUND.label


@pytest.fixture
def run(world, harness, tmp_path):
    """Evaluate; returns metrics.json."""
    (tmp_path / "data_keys_own.py").write_text(OWN)

    def run(code=0, **keys):
        job = world.job(tmp_path / "job.yaml", **keys)
        done = harness("evaluate", job, "-o", tmp_path / "run")
        assert done.code == code, done.text
        return json.loads((tmp_path / "run" / "metrics.json").read_text()) if code == 0 else done.err

    return run


def valued(result):
    found = result["metrics"]["accuracy"]
    return found["value"], found["examples"]


def test_filter_is_counted_and_certified(run, world):
    result = run(data={"filter": "data_keys_own:heavy", "transform": "data_keys_own:transform"})
    kept = FOUND.weight > 1
    assert result["metrics"]["accuracy"]["value"] == RIGHT[kept].mean()
    certificate = result["certificate"]
    assert {k: certificate[k] for k in ("examples", "read", "kept", "filtered")} == {
        "examples": 203, "read": 203, "kept": int(kept.sum()), "filtered": int((~kept).sum()),
    }  # fmt: skip
    hashed = hash_ids(np.flatnonzero(kept)).sum(dtype=np.uint64)
    assert certificate["kept_hash"] == f"{int(hashed):016x}" != certificate["id_hash"]


def test_a_filter_may_compare_for_equality(run):
    result = run(data={"filter": "data_keys_own:third"})
    kept = FOUND.label == 3
    assert valued(result) == (RIGHT[kept].mean(), int(kept.sum()))


def test_a_filter_that_leaves_nothing_gives_null(run):
    result = run(data={"filter": "data_keys_own:none"})
    assert result["metrics"]["accuracy"]["value"] is None
    assert result["certificate"]["filtered"] == 203


def test_labels_and_weights_are_computed(run):
    metrics = [{"accuracy": {"weight": "weight * 2 if label in (0, 1) else 0"}}, {"mean": {"name": "m"}}][:1]
    result = run(metrics=metrics, data={"label": "label if weight > 1 else 0"})
    label = np.where(FOUND.weight > 1, FOUND.label, 0)
    weight = np.where(np.isin(FOUND.label, [0, 1]), FOUND.weight.astype(np.float64) * 2, 0)
    right = np.argmax(FOUND.x @ made.kernel(), axis=1) == label
    assert result["metrics"]["accuracy"]["value"] == pytest.approx((right * weight).sum() / weight.sum(), rel=1e-14)


def test_sample_and_limit(run):
    chosen = np.flatnonzero(hash_ids(np.arange(203)) < np.uint64(int(0.4 * 2.0**64)))[:60]
    result = run(data={"sample": 0.4, "limit": 60})
    assert valued(result) == (RIGHT[chosen].mean(), 60)
    total = int(hash_ids(chosen).sum(dtype=np.uint64))
    assert result["certificate"]["id_hash"] == f"{total:016x}"


def test_bad_records_are_skipped_and_certified(run, world, tmp_path):
    records = made.records(FOUND.columns())
    records[7] = made.record({"x": np.zeros(3, np.float32), "label": 1})
    records[9] = b"no record"
    path = made.write_tfrecord(tmp_path / "bad.tfrecord", records)
    made.flip(path, made.record_offsets(path)[100] + 20)
    bad = np.isin(np.arange(203), [7, 9, 100])
    result = run(data={"files": str(path), "on_bad_record": "skip"})
    assert valued(result) == (RIGHT[~bad].mean(), 200)
    certificate = result["certificate"]
    assert [certificate[k] for k in ("examples", "read", "kept", "skipped")] == [203, 203, 200, 3]
    assert "filtered" not in certificate


def test_bad_rows_of_a_text_are_skipped(run, tmp_path):
    lines = [",".join([*map(str, FOUND.x[i]), str(FOUND.label[i]), str(FOUND.weight[i])]) for i in range(203)]
    lines[50] = "1,2,3"
    lines[60] = lines[60].replace(lines[60].split(",")[-2], "word")
    (tmp_path / "x.csv").write_text("\n".join([",".join([*formats.X, "label", "weight"]), *lines]) + "\n")
    features = {
        **{n: {"dtype": "float32"} for n in formats.X},
        "x": {"dtype": "float32", "columns": formats.X},
        "label": {"dtype": "int64"},
    }
    result = run(data={"files": "x.csv", "features": features, "inputs": {"x": "x"}, "on_bad_record": "skip"})
    good = ~np.isin(np.arange(203), [50, 60])
    assert valued(result) == (RIGHT[good].mean(), 201)
    assert result["certificate"]["skipped"] == 2


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_same_bytes_at_several_ranks(world, harness, tmp_path, ranks):
    (tmp_path / "data_keys_own.py").write_text(OWN)
    path = made.write_tfrecord(tmp_path / "bad.tfrecord", [*made.records(FOUND.columns()), b"no record"])
    data = {
        "files": str(path), "filter": "data_keys_own:heavy", "sample": 0.7, "on_bad_record": "skip", "label": "label * (weight > 1)",
    }  # fmt: skip
    job = world.job(tmp_path / "job.yaml", data=data, bootstrap={"replicates": 3})
    assert harness("evaluate", job, "-o", tmp_path / "one").code == 0
    words = [sys.executable, "-m", "tests.ranks.many", f"{job}={tmp_path / 'many'}"]
    done = start(over_ranks(ranks, "mpi", words), ROOT)
    assert done.code == 0, done.text
    assert (tmp_path / "many" / "metrics.json").read_bytes() == (tmp_path / "one" / "metrics.json").read_bytes()


@pytest.mark.parametrize(
    "data, words",
    [
        ({"label": "label > wieght"}, "reads 'wieght', which is none: did you mean 'weight'"),
        ({"filter": "data_keys_own:heavier"}, "data.filter: data_keys_own has no 'heavier': did you mean 'heavy'"),
        ({"transform": "data_keys_none:x"}, "data.transform: no module 'data_keys_none'"),
        ({"sample": 0}, "data.sample: Input should be greater than 0"),
        ({"python": "a:b"}, "expected files or python, found both"),
        ({"sample": 1e-9}, "data.sample: a share of 1e-09 draws none of "),
    ],
)
def test_keys_that_are_wrong(run, data, words):
    error = run(code=2, data=data)
    assert words in error

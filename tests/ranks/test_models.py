"""Every kind of model, several models, and predictions at 1, 2 and 3 ranks: the same bytes, in one launch each."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import kinds, made
from tests.comparison.documents import compared, judged
from tests.conftest import ROOT, over_ranks, start

pytestmark = pytest.mark.ranks

METRICS = [{"accuracy": {"output": "probabilities"}}]
ONE_OUTPUT = ["accuracy", "cross_entropy"]


@pytest.fixture(scope="module")
def jobs(world, tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("jobs")
    kinds.save(folder)
    models = {
        "keras2": {"path": "keras2_saved_model"},
        "h5": {"path": "keras2.h5"},
        "weights": {"path": "keras3.weights.h5", "python": "factories:dense"},
        "tflite": {"path": "float.tflite"},
        "int8": {"path": "int8.tflite"},
        "copied": {"path": "versions", "version": 3, "node_copy": "always"},
    }
    found = {name: str(world.job(folder / f"{name}.yaml", model=model, metrics=ONE_OUTPUT)) for name, model in models.items()}
    estimator = {"path": "estimator", "signature": "predict"}
    found["estimator"] = str(world.job(folder / "estimator.yaml", model=estimator, metrics=METRICS))
    both = {"first": "versions/3", "second": {"path": "int8.tflite"}, "worse": "versions/20"}
    keys = {
        "metrics": ["accuracy", {"f_beta": {"average": "per_class"}}],
        "slices": ["label"],
        "bootstrap": {"replicates": 30, "seed": 5},
    }
    pairs = ["mcnemar", "flip_rate", "prediction_difference", "largest_prediction_difference"]
    several = {**keys, "metrics": [*keys["metrics"], *pairs]}
    found["several"] = str(world.job(folder / "several.yaml", model=None, models=both, **several))
    found["single"] = str(world.job(folder / "single.yaml", model="versions/3", **keys))
    found["worse"] = str(world.job(folder / "worse.yaml", model="versions/20", **keys))
    found["eager"] = str(
        world.job(
            folder / "eager.yaml",
            model=str(world.folder / "heads"),
            eager=True,
            metrics=METRICS,
            slices=["label"],
            bootstrap={"replicates": 5},
        )
    )
    found["compiled"] = str(
        world.job(
            folder / "compiled.yaml",
            model=str(world.folder / "heads"),
            metrics=METRICS,
            slices=["label"],
            bootstrap={"replicates": 5},
        )
    )
    parquet = world.job(
        folder / "parquet.yaml",
        model={"path": "estimator", "signature": "predict"},
        metrics=METRICS,
        predictions={"features": ["x"]},
    )
    found["parquet"] = f"predict:{parquet}"
    jsonl = world.job(
        folder / "jsonl.yaml",
        model=str(world.folder / "heads"),
        metrics=METRICS,
        predictions={"format": "jsonl"},
        batch_size=1,
        chunk_size=3,
    )
    found["jsonl"] = f"predict:{jsonl}"
    # A share of the examples, of which a filter leaves chunks with some, and with none.
    (folder / "filters.py").write_text("def few(features):\n    return (features['label'] == 1) & (features['target'] > 0)\n")
    few = str(
        world.job(
            folder / "few.yaml",
            model=str(world.folder / "heads"),
            metrics=METRICS,
            slices=["label"],
            bootstrap={"replicates": 5},
            data={"filter": "filters:few", "sample": 0.8},
            chunk_size=4,
            batch_size=4,
        )
    )
    found |= {"few": few, "few_predicted": f"predict:{few}", "few_again": f"from:few_predicted:{few}"}
    return found


def launch(jobs, folder: Path, *argv: str) -> None:
    pairs = [f"{job}={folder / name}" for name, job in jobs.items()]
    environ = {"HARNESS_THREADS": "1", "HARNESS_CACHE": str(folder / "cache")}
    done = start([*argv, sys.executable, "-m", "tests.ranks.many", *pairs], ROOT, environ)
    assert done.code == 0, done.text


@pytest.fixture(scope="module")
def alone(jobs, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    launch(jobs, folder)
    return folder


def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_all_kinds_give_the_accuracy_of_the_formula(alone):
    e = made.examples()
    wanted = ((e.x @ made.kernel()).argmax(axis=1) == e.label).mean()
    for name in ("keras2", "h5", "weights", "tflite", "copied", "estimator", "parquet", "jsonl", "eager", "compiled"):
        assert metrics(alone / name)["metrics"]["accuracy"]["value"] == pytest.approx(wanted, abs=1e-12), name
    assert metrics(alone / "int8")["metrics"]["accuracy"]["value"] == pytest.approx(wanted, abs=0.05)
    run = json.loads((alone / "copied" / "run.json").read_text())
    assert run["model"]["copied_to_nodes"] and run["model"]["path"].endswith("versions/3")
    assert len(list((alone / "cache" / "models").iterdir())) == 1


def test_predictions_of_some_examples_give_the_metrics_of_the_model_and_certify_those(alone):
    model, again = metrics(alone / "few"), metrics(alone / "few_again")
    for part in ("metrics", "slices", "intervals"):
        assert again[part] == model[part], part
    sizes = [p["examples"] for p in json.loads((alone / "few_predicted/predictions/_manifest.json").read_text())["parts"]]
    kept = model["certificate"]["kept"]
    assert 0 in sizes and sum(sizes) == kept < 40
    assert again["certificate"].keys() == {"examples", "chunks", "id_hash", "content_hash", "content_reason"}
    assert again["certificate"]["content_hash"] is None and len(model["certificate"]["content_hash"]) == 16
    assert again["certificate"]["examples"] == kept and again["certificate"]["chunks"] == sum(size > 0 for size in sizes)
    wanted = {key: model["certificate"][key] for key in ("read", "kept", "filtered")}
    assert again["predictions"] == wanted and "predictions" not in model


def test_eager_is_the_same_code_path(alone):
    eager, compiled = metrics(alone / "eager"), metrics(alone / "compiled")
    for part in ("metrics", "slices", "intervals", "certificate"):
        assert eager[part] == compiled[part]
    assert json.loads((alone / "eager" / "run.json").read_text())["model"]["eager"] is True


def test_several_models_stand_side_by_side_and_differences_are_paired(alone):
    several, first, worse = (metrics(alone / name) for name in ("several", "single", "worse"))
    for name, one in (("first", first), ("worse", worse)):
        for part in ("metrics", "intervals"):
            assert {k: several[part][f"{name}/{k}"] for k in one[part]} == one[part]
    found = several["differences"]
    assert list(found) == ["second - first", "worse - first"]
    assert set(found["worse - first"]) == {"accuracy", *(f"f_beta/{number}" for number in range(5))}
    ours = found["worse - first"]["accuracy"]
    assert ours["value"] == worse["metrics"]["accuracy"]["value"] - first["metrics"]["accuracy"]["value"]
    # Paired: the quantiles of the differences within replicates, from the replicates of runs of their own.
    a, b = (np.load(alone / name / "replicates.npz")["accuracy"] for name in ("worse", "single"))
    assert (ours["interval"]["low"], ours["interval"]["high"]) == pytest.approx(
        tuple(np.quantile(a - b, [0.025, 0.975], method="weibull")), abs=1e-12
    )


def test_predictions_of_a_graph_of_tensorflow_1_hold_its_strings(alone):
    import pyarrow.dataset as ds

    table = ds.dataset(alone / "parquet" / "predictions", format="parquet").to_table()
    names = ["zero", "one", "two", "three", "four"]
    assert table["class"].to_pylist() == [names[best] for best in (made.examples().x @ made.kernel()).argmax(axis=1)]
    assert table["id"].to_pylist() == list(range(made.EXAMPLES))


@pytest.mark.parametrize("comm, size", [("mpi", 2), ("gloo", 3)])
def test_bytes_do_not_depend_on_ranks(comm, size, jobs, alone, tmp_path):
    launch(jobs, tmp_path, *over_ranks(size, comm, []))
    for name in jobs:
        assert (tmp_path / name / "metrics.json").read_bytes() == (alone / name / "metrics.json").read_bytes(), name
    for text in (lambda folder: compared(folder / "several"), lambda folder: compared(folder / "single", folder / "worse")):
        assert text(tmp_path) == text(alone) and '"label"' in text(alone)
    rules = [{"accuracy": {"may_drop": 0.2}}, {"accuracy": {"by": "label", "at_least": 0.1}}, {"nulls": {"at_most": 0}}]
    rulings = [judged(folder / "worse", rules, folder / "single") for folder in (alone, tmp_path)]
    assert rulings[0] == rulings[1] and '"low": 0.' in rulings[0]
    for name in ("parquet", "jsonl"):
        one, many = alone / name / "predictions", tmp_path / name / "predictions"
        assert sorted(path.name for path in many.iterdir()) == sorted(path.name for path in one.iterdir())
        assert all((many / path.name).read_bytes() == path.read_bytes() for path in one.iterdir())
    assert len(list((alone / "jsonl" / "predictions").glob("part-*"))) == 53  # 26 and 26 of three, the GZIP file in one

"""The same bytes at any number of ranks, over MPI and Gloo, or alone; and the right values."""

from __future__ import annotations

import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from harness.report.page import render
from harness.report.subjects import read
from tests import made
from tests.conftest import ROOT, over_ranks, start

pytestmark = pytest.mark.ranks

P, L, A = {"output": "probabilities"}, {"output": "logits", "from_logits": True}, {"output": "amount", "label": "target"}
METRICS = [
    {"accuracy": {**P, "name": "accuracy"}},
    {"accuracy": {**P, "weight": "weight", "name": "weighted_accuracy"}},
    {"top_k": {**P, "k": 2, "name": "top_k"}},
    {"cross_entropy": {**P, "name": "cross_entropy"}},
    {"cross_entropy": {**L, "name": "cross_entropy_of_logits"}},
    {"cross_entropy": {**L, "weight": "weight", "name": "weighted_cross_entropy"}},
    {"precision": {**P, "average": "macro", "name": "precision"}},
    {"recall": {**P, "average": "micro", "name": "recall"}},
    {"f_beta": {**P, "average": "weighted", "beta": 2.0, "name": "f_beta"}},
    {"f_beta": {**P, "average": "per_class", "name": "f1_per_class"}},
    {"precision": {**P, "average": "macro", "weight": "weight", "name": "weighted_precision"}},
    {"confusion_matrix": {**P, "name": "confusion_matrix"}},
    {"accuracy": {**P, "ignore_label": 2, "name": "accuracy_without_2"}},
    {"mean_absolute_error": {**A, "name": "mean_absolute_error"}},
    {"mean_squared_error": {**A, "name": "mean_squared_error"}},
    {"root_mean_squared_error": {**A, "weight": "weight", "name": "root_mean_squared_error"}},
    {"r2": {**A, "name": "r2"}},
    {"r2": {**A, "weight": "weight", "name": "weighted_r2"}},
    {"mean": {"output": "amount", "name": "mean"}},
]
EXAMPLES = {"worst": 7, "by": "cross_entropy", "per": "confusion", "also": ["confident", "random"], "features": ["target"]}
# What a run does beside its result.
BESIDE = {
    "monitor": {"textfile": "."},
    "cost": {"node_hour": 3.6, "currency": "EUR"},
    "export": ["csv=all.csv", "openmetrics=all.prom"],
}
LAUNCHES = [("mpi", 1), ("mpi", 2), ("mpi", 3), ("mpi", 5), ("gloo", 1), ("gloo", 2), ("gloo", 3), ("gloo", 5)]


@pytest.fixture(scope="module")
def jobs(world, tmp_path_factory) -> dict[str, Path]:
    """All metrics over TFRecord files; the same examples in memory, with fewer chunks than ranks."""
    folder = tmp_path_factory.mktemp("jobs")
    heads, keras = str(world.folder / "heads"), str(world.folder / "classifier.keras")
    return {
        "records": world.job(folder / "records.yaml", model=heads, metrics=METRICS, examples=EXAMPLES),
        "memory": world.job(folder / "memory.yaml", model=heads, metrics=METRICS[:2] + METRICS[-2:], chunk_size=150, data={"files": [str(world.folder / "all.npz")]}),
        "keras": world.job(folder / "keras.yaml", model=keras, chunk_size=None),
        "beside": world.job(folder / "beside.yaml", model=keras, chunk_size=None, **BESIDE),
    }  # fmt: skip


@pytest.fixture(scope="module")
def alone(jobs, tmp_path_factory) -> dict[str, Path]:
    """The same jobs in one process without any launcher."""
    folder = tmp_path_factory.mktemp("alone")
    pairs = [f"{job}={folder / name}" for name, job in jobs.items()]
    done = start([sys.executable, "-m", "tests.ranks.many", *pairs], ROOT, {"HARNESS_THREADS": "1"})
    assert done.code == 0, done.text
    assert "rank 0 of 1 over single: all well" in done.out
    return {name: folder / name for name in jobs}


@pytest.mark.parametrize("comm, size", LAUNCHES)
def test_bytes_do_not_depend_on_ranks(comm, size, jobs, alone, tmp_path):
    pairs = [f"{job}={tmp_path / name}" for name, job in jobs.items()]
    again = pairs[0]  # a run that is done already
    table = jobs["beside"].parent / "all.csv"
    handed_on = pd.read_csv(table)["run_id"].nunique()
    done = start(
        over_ranks(size, comm, [sys.executable, "-m", "tests.ranks.many", *pairs, again]), ROOT, {"HARNESS_THREADS": "1"}
    )
    assert done.code == 0, done.text
    said = re.sub(r"\[(?:1,)?\d+\]<stdout>:", "", done.out)  # launchers put their tag anywhere
    # Horovod does not join a world of one: the harness is alone then
    name = comm if size > 1 else "single"
    for rank in range(size):
        assert f"rank {rank} of {size} over {name}: all well" in said
    assert said.count("this run is done already, nothing was evaluated") == 1
    for name, folder in alone.items():
        assert (tmp_path / name / "metrics.json").read_bytes() == (folder / "metrics.json").read_bytes()
        assert (tmp_path / name / "metrics.csv").read_bytes() == (folder / "metrics.csv").read_bytes()
        examples = "examples.parquet"
        assert (folder / examples).exists() == (tmp_path / name / examples).exists() == (name == "records")
        assert name != "records" or (tmp_path / name / examples).read_bytes() == (folder / examples).read_bytes()
        counters_add_up(tmp_path / name, size)
    assert pure_part(tmp_path / "records") == pure_part(alone["records"])
    # Monitored, priced and handed on, or not: the same job, to the last byte.
    assert (tmp_path / "beside" / "metrics.json").read_bytes() == (alone["keras"] / "metrics.json").read_bytes()
    assert json.loads((tmp_path / "beside" / "run.json").read_text())["cost"]["prices"]["currency"] == "EUR"
    assert pd.read_csv(table)["run_id"].nunique() == handed_on + 1


def pure_part(folder: Path) -> str:
    """The page of a run, but for the section that says how it ran."""
    page, last = render(read([folder])).rsplit('<section id="run"', 1)
    assert "Confusion" in page and "rank 0" in last
    return page


def counters_add_up(folder: Path, size: int) -> None:
    """No rank does another's work: records read and batches stepped are those of the plan."""
    document = json.loads((folder / "run.json").read_text())
    (attempt,) = document["attempts"]
    ranks, plan = attempt["ranks"], document["plan"]
    assert [rank["rank"] for rank in ranks] == list(range(size))
    assert sum(rank["examples"] for rank in ranks) == made.EXAMPLES
    assert [rank["records_read"] for rank in ranks] == [rank["examples"] for rank in ranks]
    assert sum(rank["chunks"] for rank in ranks) == plan["chunks"]
    sizes = {"records": [32, 32, 13, 50, 32, 32, 12], "memory": [150, 53], "keras": [16] * 4 + [13, 50] + [16] * 4 + [12]}[
        folder.name.replace("beside", "keras")
    ]
    assert plan["chunks"] == len(sizes)
    assert sum(rank["batches"] for rank in ranks) == sum(-(-n // 16) for n in sizes)
    idle = [rank for rank in ranks if not rank["chunks"]]
    assert all((rank["examples"], rank["batches"], rank["records_read"]) == (0, 0, 0) for rank in idle)
    assert len(idle) >= size - len(sizes)


def test_the_same_examples_in_another_format_give_the_same_metrics(alone):
    documents = {name: json.loads((folder / "metrics.json").read_text()) for name, folder in alone.items()}
    memory = documents["memory"]["metrics"]
    assert set(memory) == {"accuracy", "weighted_accuracy", "weighted_r2", "mean"}
    assert {key: documents["records"]["metrics"][key] for key in memory} == memory
    assert documents["records"]["digests"] != documents["memory"]["digests"]
    assert documents["records"]["metrics"]["accuracy"]["value"] == documents["keras"]["metrics"]["accuracy"]["value"]


def test_values_are_those_of_scikit_learn(alone, world):
    import tensorflow as tf

    found = {key: entry["value"] for key, entry in json.loads((alone["records"] / "metrics.json").read_text())["metrics"].items()}
    e = made.examples()
    outputs = tf.saved_model.load(str(world.folder / "heads")).signatures["serving_default"](x=tf.constant(e.x))
    p, logits, amount = (outputs[name].numpy().astype(np.float64) for name in ("probabilities", "logits", "amount"))
    best, y, w, t = p.argmax(axis=1), e.label, e.weight.astype(np.float64), e.target.astype(np.float64)
    # in float64 from the float32 scores, without clipping
    of_logits = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(y)), y]
    of_probabilities = -np.log(p[np.arange(len(y)), y])
    kept = y != 2
    wanted = {
        "accuracy": sk.accuracy_score(y, best),
        "weighted_accuracy": sk.accuracy_score(y, best, sample_weight=w),
        "top_k": sk.top_k_accuracy_score(y, p, k=2),
        "cross_entropy": of_probabilities.mean(),
        "cross_entropy_of_logits": of_logits.mean(),
        "weighted_cross_entropy": np.average(of_logits, weights=w),
        "precision": sk.precision_score(y, best, average="macro"),
        "recall": sk.recall_score(y, best, average="micro"),
        "f_beta": sk.fbeta_score(y, best, beta=2, average="weighted"),
        "weighted_precision": sk.precision_score(y, best, average="macro", sample_weight=w),
        "accuracy_without_2": sk.accuracy_score(y[kept], best[kept]),
        "mean_absolute_error": sk.mean_absolute_error(t, amount),
        "mean_squared_error": sk.mean_squared_error(t, amount),
        "root_mean_squared_error": sk.root_mean_squared_error(t, amount, sample_weight=w),
        "r2": sk.r2_score(t, amount),
        "weighted_r2": sk.r2_score(t, amount, sample_weight=w),
        "mean": amount.mean(),
    }
    assert {key: found[key] for key in wanted} == pytest.approx(wanted, rel=1e-6)  # batches of another size: float32 bits
    by_class = dict(zip("01234", sk.f1_score(y, best, average=None), strict=True))
    assert found["f1_per_class"] == pytest.approx(by_class, rel=1e-12)  # counts are exact
    matrix = [row[1:] for row in found["confusion_matrix"]["rows"]]
    assert matrix == sk.confusion_matrix(y, best).tolist()
    assert set(found) == {*wanted, "f1_per_class", "confusion_matrix"}


def test_examples_are_those_that_a_sort_of_all_predictions_gives(alone, world):
    """Against the model itself; its bits in a batch of another size may differ in the last place, and no two losses are as close."""
    import tensorflow as tf

    table, e = pd.read_parquet(alone["records"] / "examples.parquet"), made.examples()
    model = tf.saved_model.load(str(world.folder / "heads")).signatures["serving_default"]
    p = model(x=tf.constant(e.x))["probabilities"].numpy().astype(np.float64)
    best, loss = p.argmax(axis=1), -np.log(p[np.arange(len(p)), e.label])
    cells = [f"{label} as {prediction}" for label, prediction in zip(e.label, best, strict=True)]
    by_loss, by_score = np.argsort(-loss), np.argsort(-p.max(axis=1))
    for group in ["", *set(cells)]:
        among = [example for example in by_loss if group in ("", cells[example])]
        found = table[(table["group"] == group) & (table["list"] == "worst")]
        assert found["id"].tolist() == among[:7] and found["place"].tolist() == list(range(1, len(found) + 1))
        confident = table[(table["group"] == group) & (table["list"] == "confident")]
        assert confident["id"].tolist() == [x for x in by_score if best[x] != e.label[x] and group in ("", cells[x])][:7]
        assert len(table[(table["group"] == group) & (table["list"] == "random")]) == min(7, len(among))
    ids = table["id"].to_numpy()
    np.testing.assert_allclose(table["loss"], loss[ids], rtol=1e-6)
    assert table["label"].tolist() == e.label[ids].tolist() and table["prediction"].tolist() == best[ids].tolist()
    np.testing.assert_array_equal(table["feature:target"].astype(np.float32), e.target[ids])
    names, counts, _ = zip(*made.FILES, strict=True)
    starts = dict(zip(names, np.cumsum((0, *counts)).tolist(), strict=False))
    assert (table["record"] + table["file"].map(starts) == table["id"]).all()


def collectives(timeline: Path) -> list[tuple[str, float, float]]:
    """Kind, begin and end in seconds of every collective, in their order, from Horovod's own timeline of rank 0.

    One begins when the first rank asks for it and ends with an event that has the dtype of what came out.
    """
    text = timeline.read_text().rstrip().rstrip(",")
    found: list[tuple[str, float, float]] = []
    for event in json.loads(text if text.endswith("]") else text + "]"):
        name = str(event.get("name", ""))
        if event["ph"] == "B" and name.startswith("NEGOTIATE_"):
            found.append((name.removeprefix("NEGOTIATE_"), event["ts"] / 1e6, event["ts"] / 1e6))
        elif event["ph"] == "E":
            kind, begin, _ = found[-1]
            found[-1] = (kind, begin, event["ts"] / 1e6)
    return found


def test_no_collective_before_the_end_of_the_loop(world, tmp_path):
    """The same collectives for 2 chunks and for 100, and none for as long as the quickest rank evaluates."""
    found = {}
    for chunks, size in ((2, 112), (102, 2)):
        timeline, folder = tmp_path / f"timeline-{chunks}.json", tmp_path / f"run-{chunks}"
        job = world.job(tmp_path / f"{chunks}.yaml", chunk_size=size, data={"files": [str(world.folder / "all.npz")]})
        argv = ["mpirun", "-np", "2", "--oversubscribe", "harness", "evaluate", str(job), "-o", str(folder)]
        done = start(argv, tmp_path, {"HOROVOD_TIMELINE": str(timeline), "HARNESS_THREADS": "1"})  # plain mpirun, on the way
        assert done.code == 0, done.text
        document = json.loads((folder / "run.json").read_text())
        assert document["plan"]["chunks"] == chunks
        spans = collectives(timeline)
        quiet = max(after[1] - before[2] for before, after in pairwise(spans))
        assert quiet >= min(rank["seconds"]["evaluate"] for rank in document["attempts"][0]["ranks"])
        found[chunks] = [kind for kind, _, _ in spans]
    assert found[2] == found[102]
    assert "ALLREDUCE" in found[2]

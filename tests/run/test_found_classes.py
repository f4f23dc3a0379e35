"""Classes that the job does not name are those that the labels name: found by all ranks, kept, and the same when a run resumes."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from sklearn.metrics import accuracy_score, confusion_matrix

import harness as harness_
from harness.data import Feature
from harness.errors import DataError, JobError
from harness.folder.run_folder import RunFolder
from harness.job.job import Job
from harness.prepare.binding import make_metrics
from harness.prepare.opened import Given, open_data
from harness.ranks.schedule import static_share
from harness.run.found_classes import _kept, class_names, label_texts, text_labels
from tests import made

NAMES = ["ash", "elm", "fir", "oak", "yew"]
EXAMPLES = made.examples()
TEXTS = [NAMES[number] for number in EXAMPLES.label]
PREDICTED = [NAMES[number] for number in np.argmax(EXAMPLES.x @ made.kernel(), axis=1)]


def scores(x):
    return x @ made.kernel()


def job_of(folder, model, texts=TEXTS, **data):
    """Write the examples as JSON lines, in two files, and a job for them."""
    rows = [json.dumps({"x": x.tolist(), "species": text}) + "\n" for x, text in zip(EXAMPLES.x, texts, strict=True)]
    (folder / "a.jsonl").write_text("".join(rows[:60]))
    (folder / "b.jsonl").write_text("".join(rows[60:]))
    section = {"files": ["a.jsonl", "b.jsonl"], "label": "species", "inputs": {"x": "x"}, **data}
    keys = {"metrics": ["accuracy", "confusion_matrix"], "slices": ["species"], "batch_size": 16, "chunk_size": 32}
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({"model": str(model), **keys, "data": section}))
    return path


def opened_with_labels(job):
    opened = open_data(job, handed=Given({"": "model"}))
    return replace(opened, text_labels=text_labels(job, make_metrics(job), opened.source))


def test_classes_are_found_in_arrays_and_reported():
    data = {"x": EXAMPLES.x, "species": [*TEXTS[:-1], ""]}
    results = harness_.evaluate(
        scores, data, ["accuracy", "confusion_matrix"], label="species", inputs=["x"], unknown_label="skip", batch_size=16
    )
    assert results.document["classes"] == NAMES
    assert results["accuracy"] == accuracy_score(TEXTS[:-1], PREDICTED[:-1])
    table = results.confusion_matrix.loc[NAMES, NAMES].to_numpy()
    np.testing.assert_array_equal(table, confusion_matrix(TEXTS[:-1], PREDICTED[:-1], labels=NAMES))
    with pytest.raises(DataError, match="arrays, record 202: label 'species' is '', which is none of the 5 classes: a missing"):
        harness_.evaluate(scores, data, ["accuracy"], label="species", inputs=["x"])


def test_a_run_says_keeps_and_resumes_with_the_classes_that_were_found(world, harness, tmp_path):
    job = job_of(tmp_path, world.folder / "classifier")
    done = harness("evaluate", job, "-o", "run")
    assert done.code == 0 and "classes: 5 found in label 'species', sorted: ash, elm, fir, oak, yew" in done.text
    document = json.loads((tmp_path / "run" / "metrics.json").read_text())
    question = json.loads((tmp_path / "run" / "question.json").read_text())
    assert document["classes"] == question["question"]["classes"] == NAMES
    assert [entry["slice"]["species"] for entry in document["slices"]] == NAMES
    (tmp_path / "run" / "metrics.json").rename(tmp_path / "first.json")
    kept = SimpleNamespace(folder=RunFolder(tmp_path / "run"), attempt=SimpleNamespace(kept=("a segment",)))
    assert _kept(kept) == tuple(NAMES)
    kept.attempt.kept = ()
    assert _kept(kept) is None
    resumed = harness("evaluate", job, "-o", "run", "--resume")
    assert resumed.code == 0, resumed.text
    assert (tmp_path / "run" / "metrics.json").read_bytes() == (tmp_path / "first.json").read_bytes()
    assert harness("verify", "run").code == 0
    checked = harness("check", job)
    assert checked.code == 0 and "classes: 5 found in label 'species'" in checked.text


def test_ranks_share_the_pass_and_find_what_one_finds(tmp_path):
    texts = [*TEXTS[:-3], "rare", "bad", ""]
    (tmp_path / "own_classes.py").write_text("def keep(features):\n    return features['species'] != 'bad'\n")
    path = job_of(tmp_path, "model", texts, filter="own_classes:keep")
    job = Job.load(path)
    opened = opened_with_labels(job)
    assert opened.text_labels == {"species": Feature("string", ())}
    alone = label_texts(job, opened, static_share(opened.plan, 0, 1), 1)
    shares = [label_texts(job, opened, static_share(opened.plan, rank, 9), 1) for rank in range(9)]
    assert set().union(*shares) == alone and set() in shares
    assert class_names(alone, ["species"]) == (*NAMES[:4], "rare", "yew")
    drawn = Job.load(path, ["data.limit=20"])
    some = opened_with_labels(drawn)
    assert class_names(label_texts(drawn, some, static_share(some.plan, 0, 1), 1), ["species"]) == tuple(sorted({*TEXTS[:20]}))


def test_labels_that_are_numbers_or_classes_that_are_named_are_not_looked_for(tmp_path):
    for options in (["data.classes=[ash]"], ["metrics=[text_exact_match]"], ["data.label=x"]):
        job = Job.load(job_of(tmp_path, "model"), options)
        assert opened_with_labels(job).text_labels == {}, options


@pytest.mark.parametrize(
    "texts, message",
    [
        ({b"10", b"2", b""}, r"every text is a number \(10, 2\).*species: {dtype: int64}"),
        ({b""}, "found no label that is not the empty text"),
        ({b"\xff"}, "expected text in UTF-8"),
    ],
)
def test_what_is_no_name_of_a_class_is_refused(texts, message):
    with pytest.raises(JobError, match=message):
        class_names(texts, ["species"])


def test_labels_that_are_no_classes_are_refused(monkeypatch):
    monkeypatch.setattr("harness.run.found_classes.MOST", 3)
    data = {"x": EXAMPLES.x, "species": TEXTS}
    with pytest.raises(JobError, match="label 'species': found more than 3 distinct texts"):
        harness_.evaluate(scores, data, ["accuracy"], label="species", inputs=["x"])
    monkeypatch.undo()
    few = {"x": EXAMPLES.x, "species": [text if text in NAMES[:2] else "other" for text in TEXTS]}
    with pytest.raises(JobError, match="found 3 names, and output 'output' has 5.*list all of them"):
        harness_.evaluate(scores, few, ["accuracy"], label="species", inputs=["x"])

"""Class labels that are text, in every form in which data can hold them; the oracle is scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

import harness as harness_
from harness.errors import DataError, JobError, ShapeError
from tests import made

NAMES = ["oak", "Föhre", "ash", "elm", "fir"]  # in the order of the outputs, which is not that of the alphabet
EXAMPLES = made.examples()
NUMBERS = np.asarray(EXAMPLES.label)
TEXTS = [NAMES[number] for number in NUMBERS]
SCORES = EXAMPLES.x @ made.kernel()
PREDICTED = [NAMES[number] for number in np.argmax(SCORES, axis=1)]


def scores(x):
    return tf.cast(x, tf.float32) @ made.kernel()


def columns(texts):
    return {"x": EXAMPLES.x, "species": texts}


def evaluate(data, metrics, **options):
    options = {"label": "species", "classes": NAMES, "inputs": ["x"], "batch_size": 16, "chunk_size": 48, **options}
    return harness_.evaluate(scores, data, metrics, **options)


def with_other(texts, at, name):
    return [*texts[:at], name, *texts[at + 1 :]]


def write(folder, texts):
    """Write the examples in every format that holds text; return the data sections."""
    rows = [{"x": x.tolist(), "species": text} for x, text in zip(EXAMPLES.x, texts, strict=True)]
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pd.DataFrame({**{f"x{i}": EXAMPLES.x[:, i] for i in range(8)}, "species": texts}).to_csv(folder / "a.csv", index=False)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(EXAMPLES.x.ravel()), 8)
    pq.write_table(pa.table({"x": lists, "species": pa.array(texts).dictionary_encode()}), folder / "a.parquet")
    made.write_tfrecord(folder / "a.tfrecord", [_example(row) for row in rows])
    sections = {name: {"files": str(folder / f"a.{name}")} for name in ("jsonl", "csv", "parquet", "tfrecord")}
    sections["csv"]["features"] = {"x": {"dtype": "float32", "shape": [8], "columns": [f"x{i}" for i in range(8)]}}
    return sections


def _example(row):
    features = {
        "x": tf.train.Feature(float_list=tf.train.FloatList(value=row["x"])),
        "species": tf.train.Feature(bytes_list=tf.train.BytesList(value=[row["species"].encode()])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def test_labels_of_text_are_names_of_classes_in_files(tmp_path):
    hits = {name: np.mean([p == name for t, p in zip(TEXTS, PREDICTED, strict=True) if t == name]) for name in NAMES}
    metrics = ["accuracy", "f1", "confusion_matrix", {"recall": {"average": "per_class"}}]
    documents = []
    sections = write(tmp_path, TEXTS)
    for name in ("csv", "parquet", "tfrecord"):  # JSON lines where some are filtered out, arrays where dtypes differ
        results = evaluate(sections[name], metrics, slices=["species"])
        documents.append({key: results.document[key] for key in ("metrics", "slices")})
    assert documents[1:] == documents[:-1]
    assert results["accuracy"] == accuracy_score(TEXTS, PREDICTED)
    assert results["f1"] == pytest.approx(f1_score(TEXTS, PREDICTED, average="macro"), rel=1e-12)
    assert results["recall"] == pytest.approx(hits, rel=1e-12)
    table = results.confusion_matrix
    np.testing.assert_array_equal(table.loc[NAMES, NAMES].to_numpy(), confusion_matrix(TEXTS, PREDICTED, labels=NAMES))
    assert [entry["slice"] for entry in results.document["slices"]] == [{"species": name} for name in sorted(NAMES)]


def test_labels_of_every_dtype_follow_one_rule():
    labels = {
        "objects": np.array(TEXTS, object),
        "bytes": np.array([text.encode() for text in TEXTS]),
        "category": pd.Series(TEXTS, dtype="category").to_numpy(),
        "column": np.array(TEXTS)[:, None],
        "uint8": NUMBERS.astype(np.uint8),
        "float": NUMBERS.astype(np.float32),
        "one-hot uint8": np.eye(5, dtype=np.uint8)[NUMBERS],
        "one-hot float": np.eye(5, dtype=np.float32)[NUMBERS],
        "bool": NUMBERS == 1,
        "not whole": NUMBERS + np.where(np.arange(len(NUMBERS)) == 3, 0.5, 0),
    }
    metrics = [{"accuracy": {"label": name, "name": name, "one_hot": name.startswith("one-hot")}} for name in labels]
    results = evaluate({"x": EXAMPLES.x, **labels}, metrics, label=None)
    assert results["not whole"] is None and "1 labels are NaN or out of range" in results.reasons["not whole"]
    assert results["bool"] == accuracy_score((NUMBERS == 1).astype(int), np.argmax(SCORES, axis=1))
    assert {results[name] for name in labels if name not in ("bool", "not whole")} == {accuracy_score(TEXTS, PREDICTED)}


def test_an_unknown_label_is_named_with_its_place(tmp_path):
    texts = with_other(TEXTS, 150, "elmm")
    for data, file in ((write(tmp_path, texts)["tfrecord"], "a.tfrecord"), (columns(texts), "arrays")):
        with pytest.raises(DataError) as raised:
            evaluate(data, ["accuracy"])
        message = str(raised.value)
        assert f"{file}, record 150: label 'species' is 'elmm', which is none of the 5 classes" in message
        assert "did you mean 'elm'?" in message and "unknown_label" in message


def test_an_unknown_label_is_skipped_or_no_label():
    texts = with_other(with_other(TEXTS, 150, "willow"), 7, "")
    known = np.array([text in NAMES for text in texts])
    truth = [(t, p) for t, p in zip(texts, PREDICTED, strict=True) if t in NAMES]
    expected = accuracy_score(*zip(*truth, strict=True))
    skipped = evaluate(columns(texts), ["accuracy"], unknown_label="skip", slices=["species"])
    assert skipped["accuracy"] == expected
    assert skipped.certificate.left_out == {"read": len(texts), "kept": int(known.sum()), "skipped": 2}
    assert {entry["slice"]["species"] for entry in skipped.document["slices"]} == set(NAMES)
    left_out = evaluate(columns(texts), [{"accuracy": {"ignore_label": 0}}, "accuracy"], unknown_label=None)
    assert left_out.certificate.left_out == {} and left_out.certificate.examples == len(texts)
    assert left_out.document["metrics"]["accuracy"]["examples"] == known.sum()
    assert left_out["accuracy"] == expected
    ignored = [(t, p) for t, p in truth if t != NAMES[0]]
    assert left_out["accuracy(ignore_label=0)"] == accuracy_score(*zip(*ignored, strict=True))


def test_predictions_keep_the_text(world, harness, tmp_path):
    section = write(tmp_path, with_other(TEXTS, 150, "willow"))["jsonl"]
    keys = {
        "model": str(world.folder / "classifier"),
        "metrics": ["accuracy", "confusion_matrix"],
        "slices": ["species"],
        "batch_size": 16,
    }
    data = {**section, "label": "species", "classes": NAMES, "inputs": {"x": "x"}, "unknown_label": "skip"}
    job = tmp_path / "job.yaml"
    job.write_text(yaml.safe_dump({**keys, "data": data}))
    done = harness("predict", job, "-o", "predicted")
    assert done.code == 0, done.text
    again = harness("evaluate", job, "--predictions", "predicted", "-o", "again", "--set", "data.unknown_label=error")
    assert again.code == 0, again.text
    documents = [json.loads((tmp_path / run / "metrics.json").read_text()) for run in ("predicted", "again")]
    assert documents[0]["certificate"]["skipped"] == 1
    assert [documents[0][key] for key in ("metrics", "slices")] == [documents[1][key] for key in ("metrics", "slices")]
    failed = harness("evaluate", job, "-o", "failed", "--set", "data.unknown_label=error")
    assert failed.code == 1 and "a.jsonl, record 150: label 'species' is 'willow'" in failed.text


def test_what_is_filtered_out_is_not_asked_for_its_label(tmp_path):
    (tmp_path / "own_labels.py").write_text("def keep(features):\n    return features['species'] != 'willow'\n")
    (tmp_path / "names.txt").write_text("".join(name + "\n" for name in NAMES), "utf-8")
    data = write(tmp_path, with_other(TEXTS, 150, "willow"))["jsonl"]
    results = evaluate({**data, "filter": "own_labels:keep"}, ["accuracy"], classes="names.txt", folder=tmp_path)
    kept = [(text, name) for number, (text, name) in enumerate(zip(TEXTS, PREDICTED, strict=True)) if number != 150]
    assert results["accuracy"] == accuracy_score(*zip(*kept, strict=True))
    assert results.certificate.left_out == {"read": len(TEXTS), "kept": len(TEXTS) - 1, "filtered": 1}


def test_positions_have_labels_of_text():
    tags = np.array([["B", "I", ""], ["O", "", ""], ["I", "O", "B"]])
    tag_scores = np.random.default_rng(5).random([3, 3, 3], np.float32)
    data = {"x": tag_scores, "tags": tags}
    results = harness_.evaluate(
        lambda x: x, data, ["accuracy"], label="tags", inputs=["x"], classes=["B", "I", "O"], unknown_label="null"
    )
    predicted = np.array(["B", "I", "O"])[np.argmax(tag_scores, axis=-1)]
    assert results["accuracy"] == np.mean((predicted == tags)[tags != ""])


def test_what_is_no_class_label_is_refused_with_a_remedy():
    with pytest.raises(ShapeError, match="label 'species' is text, a one-hot label is a row of numbers"):
        evaluate(columns(TEXTS), [{"accuracy": {"one_hot": True}}])
    with pytest.raises(JobError, match="data.unknown_label: Input should be 'error', 'skip' or 'null'"):
        evaluate(columns(TEXTS), ["accuracy"], unknown_label="ignore")

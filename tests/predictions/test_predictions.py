"""harness predict as a user runs it: the dataset and what is in it, and metrics from it without the model."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import yaml

from harness.exact.splitmix import hash_ids
from tests import made
from tests.conftest import command

METRICS = [{"accuracy": {"output": "probabilities"}}, {"mean_absolute_error": {"output": "amount", "label": "target", "weight": "weight"}}, {"median_absolute_error": {"output": "amount", "label": "target"}}]  # fmt: skip
SIZES = [32, 32, 13, 50, 32, 32, 12]  # of the chunks of the TFRecord files


@pytest.fixture(scope="module")
def runs(world, cli_server, tmp_path_factory) -> Path:
    """One run with metrics, the same in each format, and metrics from each without the model."""
    folder = tmp_path_factory.mktemp("runs")
    keys = {"model": str(world.folder / "heads"), "metrics": METRICS, "slices": ["label"], "bootstrap": {"replicates": 20}}
    world.job(folder / "job.yaml", **keys, predictions={"features": ["x"]})
    done = command(cli_server, folder, "evaluate", "job.yaml", "-o", "evaluated")
    assert done.code == 0, done.text
    for kind in ("parquet", "tfrecord", "jsonl"):
        done = command(cli_server, folder, "predict", "job.yaml", "-o", kind, "--set", f"predictions.format={kind}")
        assert done.code == 0, done.text
        # The job's own model and data are not needed any more.
        away = ["--set", "model.path=nowhere", "--set", "data.files=[nowhere.tfrecord]"]
        done = command(cli_server, folder, "evaluate", "job.yaml", "-o", f"from_{kind}", "--predictions", kind, *away)
        assert done.code == 0, done.text
    return folder


def outputs(world) -> dict[str, np.ndarray]:
    """What the model says, by its own formulas."""
    logits = made.examples().x.astype(np.float64) @ made.kernel().astype(np.float64)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return {"logits": logits, "probabilities": e / e.sum(axis=1, keepdims=True), "amount": made.examples().x.sum(axis=1)}


def test_every_example_is_there_once_in_order_with_its_outputs_and_features(runs, world):
    table = ds.dataset(runs / "parquet" / "predictions", format="parquet").to_table()
    assert table.column_names == ["id", "amount", "logits", "probabilities", "label", "target", "weight", "x"]
    assert table["id"].to_pylist() == list(range(made.EXAMPLES))
    for name, values in outputs(world).items():
        np.testing.assert_allclose(np.array(table[name].to_pylist()), values, rtol=1e-4, atol=1e-5)
    e = made.examples()
    assert table["label"].to_pylist() == e.label.tolist()
    for name in ("x", "target", "weight"):
        assert np.array_equal(np.array(table[name].to_pylist(), np.float32), getattr(e, name))


def test_parts_are_named_by_chunk_and_the_manifest_says_what_they_hold(runs):
    folder = runs / "parquet" / "predictions"
    manifest = json.loads((folder / "_manifest.json").read_text())
    names = [f"part-{chunk:08d}.parquet" for chunk in range(len(SIZES))]
    assert sorted(path.name for path in folder.iterdir()) == sorted(["_SUCCESS", "_manifest.json", *names])
    assert [part["file"] for part in manifest["parts"]] == names
    assert [part["examples"] for part in manifest["parts"]] == SIZES
    assert [pq.read_metadata(folder / name).num_rows for name in names] == SIZES
    for part in manifest["parts"]:
        data = (folder / part["file"]).read_bytes()
        assert (part["bytes"], part["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_other_formats_hold_the_same(runs):
    import tensorflow as tf

    table = ds.dataset(runs / "parquet" / "predictions", format="parquet").to_table().to_pylist()
    files = sorted((runs / "jsonl" / "predictions").glob("part-*"))
    assert [json.loads(line) for file in files for line in file.read_text().splitlines()] == table
    files = sorted((runs / "tfrecord" / "predictions").glob("part-*"))
    for raw, row in zip(tf.data.TFRecordDataset([str(file) for file in files]), table, strict=True):
        feature = tf.train.Example.FromString(raw.numpy()).features.feature
        assert set(feature) == set(row)
        assert feature["id"].int64_list.value[0] == row["id"]
        assert list(feature["logits"].float_list.value) == row["logits"]


@pytest.mark.parametrize("kind", ["parquet", "tfrecord", "jsonl"])
def test_metrics_from_predictions_are_those_of_the_model(runs, kind):
    wanted = (runs / "evaluated" / "metrics.json").read_bytes()
    assert json.loads(wanted)["slices"] and json.loads(wanted)["intervals"]
    assert (runs / kind / "metrics.json").read_bytes() == wanted  # predicting and evaluating are the same job
    assert (runs / f"from_{kind}" / "metrics.json").read_bytes() == wanted
    assert (runs / f"from_{kind}" / "metrics.csv").read_bytes() == (runs / "evaluated" / "metrics.csv").read_bytes()


def test_a_run_that_was_killed_leaves_the_same_bytes_when_it_is_run_again(runs, harness, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(runs / "parquet", broken)
    # As a killed run leaves a folder: some parts, one of them by another hand, none of what comes last, nothing in the journal.
    shutil.rmtree(broken / "journal")
    for name in ("metrics.json", "predictions/_SUCCESS", "predictions/_manifest.json", "predictions/part-00000003.parquet"):
        (broken / name).unlink()
    (broken / "predictions" / "part-00000001.parquet").write_bytes(b"torn")
    (broken / "predictions" / ".part-00000002.parquet.host.17").write_bytes(b"under way")
    (broken / "predictions" / "part-00000099.parquet").write_bytes(b"of another plan")
    done = harness("predict", runs / "job.yaml", "-o", broken, "--set", "predictions.format=parquet")
    assert done.code == 0, done.text
    assert content(broken / "predictions") == content(runs / "parquet" / "predictions")


def test_a_run_that_is_resumed_keeps_the_parts_of_what_is_done(runs, harness, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(runs / "parquet", broken)
    for name in ("metrics.json", "predictions/_SUCCESS", "predictions/_manifest.json"):
        (broken / name).unlink()
    kept = broken / "predictions" / "part-00000002.parquet"
    stamp = kept.stat().st_mtime_ns
    argv = ["predict", runs / "job.yaml", "-o", broken, "--set", "predictions.format=parquet"]
    done = harness(*argv)
    assert done.code == 2 and "--resume goes on from there" in done.err
    done = harness(*argv, "--resume")
    assert done.code == 0, done.text
    assert content(broken / "predictions") == content(runs / "parquet" / "predictions")
    assert kept.stat().st_mtime_ns == stamp
    assert (broken / "metrics.json").read_bytes() == (runs / "evaluated" / "metrics.json").read_bytes()
    assert harness("verify", broken).code == 0


def test_a_damaged_part_is_evaluated_again_at_a_resume_and_named_by_verify(runs, harness, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(runs / "parquet", broken)
    first, second = (broken / "predictions" / f"part-0000000{chunk}.parquet" for chunk in (0, 4))
    for damaged in (first, second):
        made.flip(damaged, 100)
    done = harness("verify", broken)
    assert done.code == 1 and all(f"{damaged}: expected SHA-256" in done.out for damaged in (first, second))
    (broken / "metrics.json").unlink()
    second.unlink()
    done = harness("predict", runs / "job.yaml", "-o", broken, "--set", "predictions.format=parquet", "--resume")
    assert done.code == 0 and all(f"warning: {damaged}" in done.err for damaged in (first, second)), done.text
    assert "0 of 7 chunks are done already" in done.err
    assert content(broken / "predictions") == content(runs / "parquet" / "predictions")
    assert (broken / "metrics.json").read_bytes() == (runs / "evaluated" / "metrics.json").read_bytes()
    done = harness("verify", broken)
    assert done.code == 0 and "verified: 7 parts of the predictions" in done.out


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_part_that_was_changed_is_found(runs, harness, tmp_path):
    folder = tmp_path / "changed"
    shutil.copytree(runs / "parquet", folder)
    made.flip(folder / "predictions" / "part-00000004.parquet", 100)
    done = harness("evaluate", runs / "job.yaml", "-o", "out", "--predictions", folder)
    assert done.code == 1
    assert "part-00000004.parquet: expected" in done.err and "write the predictions again" in done.err
    (folder / "predictions" / "_SUCCESS").unlink()
    done = harness("evaluate", runs / "job.yaml", "-o", "out2", "--predictions", folder)
    assert done.code == 2 and "expected finished predictions, found no _SUCCESS" in done.err


def test_without_labels_and_without_metrics(world, harness, tmp_path):
    world.job(
        tmp_path / "job.yaml",
        model=str(world.folder / "heads"),
        metrics=[METRICS[0], {"mean": {"output": "amount"}}],
        data={"label": None},
    )
    done = harness("predict", "job.yaml", "-o", "unlabelled", "--set", "predictions.outputs=[probabilities]")
    assert done.code == 0, done.text
    assert set(json.loads((tmp_path / "unlabelled" / "metrics.json").read_text())["metrics"]) == {"mean"}
    table = ds.dataset(tmp_path / "unlabelled" / "predictions", format="parquet").to_table()
    assert table.column_names == ["id", "probabilities"] and len(table) == made.EXAMPLES
    raw = yaml.safe_load((tmp_path / "job.yaml").read_text())
    del raw["metrics"]
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump(raw))
    done = harness("predict", "bare.yaml", "-o", "bare")
    assert done.code == 0, done.text
    found = json.loads((tmp_path / "bare" / "metrics.json").read_text())
    assert (found["metrics"], found["certificate"]["examples"]) == ({}, made.EXAMPLES)
    done = harness("evaluate", "bare.yaml")
    assert done.code == 2 and "'metrics' is missing" in done.err


def test_examples_that_were_drawn_or_filtered(world, harness, tmp_path):
    (tmp_path / "mine.py").write_text("def even(features):\n    return features['label'] % 2 < 1\n")
    world.job(tmp_path / "job.yaml", model=str(world.folder / "heads"), metrics=METRICS)
    drawn = ["--set", "data.limit=50"]
    assert harness("evaluate", "job.yaml", "-o", "model", *drawn).code == 0
    done = harness("predict", "job.yaml", "-o", "drawn", *drawn)
    assert done.code == 0, done.text
    assert len(ds.dataset(tmp_path / "drawn" / "predictions", format="parquet").to_table()) == 50
    done = harness("evaluate", "job.yaml", "-o", "again", "--predictions", "drawn", *drawn)
    assert done.code == 0, done.text
    assert (tmp_path / "again" / "metrics.json").read_bytes() == (tmp_path / "model" / "metrics.json").read_bytes()
    done = harness("predict", "job.yaml", "-o", "filtered", "--set", "data.filter=mine:even")
    assert done.code == 0, done.text
    table = ds.dataset(tmp_path / "filtered" / "predictions", format="parquet").to_table()
    assert table["id"].to_pylist() == np.flatnonzero(made.examples().label % 2 == 0).tolist()
    done = harness("evaluate", "job.yaml", "-o", "kept", "--predictions", "filtered")
    assert done.code == 0, done.text
    kept = len(table)
    assert f"predicted {kept} of {made.EXAMPLES} examples: {made.EXAMPLES - kept} filtered" in done.out
    found = json.loads((tmp_path / "kept" / "metrics.json").read_text())
    assert found["metrics"] == json.loads((tmp_path / "filtered" / "metrics.json").read_text())["metrics"]
    assert found["certificate"]["examples"] == kept
    assert found["certificate"]["id_hash"] == f"{int(hash_ids(np.array(table['id'])).sum()):016x}"
    assert harness("verify", "kept").code == 0
    # An id that is not what was predicted, in a part that is whole otherwise.
    manifest = tmp_path / "filtered" / "predictions" / "_manifest.json"
    document = json.loads(manifest.read_text())
    document["parts"][1]["id_hash"] += 1
    manifest.write_text(json.dumps(document))
    done = harness("evaluate", "job.yaml", "-o", "other", "--predictions", "filtered")
    assert done.code == 1 and "part-00000001.parquet" in done.err, done.text


def test_records_that_were_skipped_and_a_filter_that_keeps_nothing(world, harness, tmp_path):
    (tmp_path / "mine.py").write_text("def none(features):\n    return features['label'] < 0\n")
    made.write_tfrecord(tmp_path / "x.tfrecord", made.records(made.examples().columns(), 0, 40))
    from harness.data.tfrecord_index import scan

    made.flip(tmp_path / "x.tfrecord", int(next(scan(str(tmp_path / "x.tfrecord")))[17]) + 20)
    data = {"files": [str(tmp_path / "x.tfrecord")], "on_bad_record": "skip"}
    world.job(tmp_path / "job.yaml", model=str(world.folder / "heads"), metrics=METRICS, data=data)
    done = harness("predict", "job.yaml", "-o", "skipped")
    assert done.code == 0, done.text
    done = harness("evaluate", "job.yaml", "-o", "again", "--predictions", "skipped")
    assert done.code == 0, done.text
    first, again = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("skipped", "again"))
    assert again["metrics"] == first["metrics"]
    assert again["predictions"] == {"read": 40, "kept": 39, "skipped": 1}
    assert harness("predict", "job.yaml", "-o", "empty", "--set", "data.filter=mine:none").code == 0
    done = harness("evaluate", "job.yaml", "-o", "nothing", "--predictions", "empty")
    assert done.code == 2 and "no example was predicted: read 40, kept 0, filtered 39, skipped 1" in done.err


@pytest.mark.parametrize(
    "argv, message",
    [
        (["predict", "job.yaml", "-o", "s3://bucket/run"], "committed by rename, which object stores do not have"),
        (["predict", "job.yaml", "--set", "output=gs://bucket/run"], "committed by rename, which object stores do not have"),
        (
            ["predict", "job.yaml", "--set", "predictions.outputs=[logit]"],
            "the model has no output 'logit': did you mean 'logits'?",
        ),
        (["predict", "job.yaml", "--set", "predictions.features=[y]"], "the data has no feature 'y'"),
        (["predict", "job.yaml", "--set", "predictions.bytes=[y]"], "predictions.bytes: 'y' is not written"),
        (["evaluate", "job.yaml", "--predictions", "nowhere"], "found no _SUCCESS"),
    ],
)
def test_what_cannot_be_done_is_said_clearly(world, harness, tmp_path, argv, message):
    world.job(tmp_path / "job.yaml", model=str(world.folder / "heads"), metrics=METRICS)
    done = harness(*argv)
    assert done.code == 2, done.text
    assert message in done.err


def test_a_metric_whose_feature_was_not_written(runs, harness):
    done = harness("evaluate", runs / "job.yaml", "-o", "out", "--predictions", runs / "parquet", "--set", "data.label=lable")
    assert done.code == 2
    assert "the predictions hold no feature 'lable': did you mean 'label'?" in done.err


def test_predictions_and_an_evaluation_do_not_share_a_folder(runs, harness):
    done = harness("predict", runs / "job.yaml", "-o", runs / "evaluated")
    assert done.code == 2 and "its predictions differs from this one's" in done.err
    done = harness("predict", runs / "job.yaml", "-o", runs / "parquet")
    assert done.code == 0 and "this run is done already" in done.out

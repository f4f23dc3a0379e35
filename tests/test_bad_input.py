"""What bad input gets: each through the real command line, alone. Exit code, message, and no result that looks complete."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from tests import made

COLUMNS = made.examples().columns()


@pytest.fixture
def run(world, harness, tmp_path):
    """Evaluate a job with some keys; returns what it did and its run folder's result, None where there is none."""

    def run(argv=(), environ=None, **keys):
        job = world.job(tmp_path / "job.yaml", **keys)
        done = harness("evaluate", job, "-o", tmp_path / "run", *argv, environ=environ)
        result = tmp_path / "run" / "metrics.json"
        return done, json.loads(result.read_text()) if result.exists() else None

    return run


def refused(found, code: int, *words: str) -> None:
    """One message, said once, in the words of the house; no result."""
    done, result = found
    assert (done.code, result) == (code, None), done.text
    assert done.err.count("harness: error: ") == 1, done.err
    assert "Traceback" not in done.err and "bug of the harness" not in done.err
    for word in words:
        assert word in done.err, done.err


def tfrecord(folder, name="x.tfrecord", count=40, change=None):
    """A file of the first examples, one of them changed."""
    columns = [{key: array[i] for key, array in COLUMNS.items()} for i in range(count)]
    if change:
        at, what = change
        columns[at] = {key: value for key, value in {**columns[at], **what}.items() if value is not None}
    return made.write_tfrecord(folder / name, [made.record(c) for c in columns])


@pytest.mark.parametrize(
    "files, words",
    [
        (["no.tfrecord"], ("data.files: no such file: no.tfrecord (looked for /",)),
        (["no-*.tfrecord"], ("data.files: 'no-*.tfrecord' matches nothing (looked for /",)),
        (["."], ("is a folder, expected files or a glob such as ./*",)),
        (["x.tfrecord", "x.tfr*"], ("data.files: named more than once: ", "x.tfrecord")),
    ],
)
def test_files_that_are_not_there(run, tmp_path, files, words):
    tfrecord(tmp_path)
    refused(run(data={"files": files, "format": "tfrecord"}), 2, *words)


def test_no_job_file(harness, tmp_path):
    done = harness("evaluate", "no.yaml")
    assert (done.code, done.err) == (2, "harness: error: no.yaml: no such job file\n")


def test_zero_examples_are_an_error_not_a_zero(run, world):
    empty = str(world.folder / "b.tfrecord")
    refused(run(data={"files": [empty]}), 2, "expected at least one example, found none in 1 file")


def test_a_corrupt_record(run, tmp_path):
    path = tfrecord(tmp_path)
    at = made.record_offsets(path)[17]
    made.flip(path, at + 20)
    refused(run(data={"files": [str(path)]}), 1, f"{path}, record 17 at byte {at}: the CRC of its data is wrong")


def test_a_corrupt_record_of_a_gzip_file(run, tmp_path):
    path = tfrecord(tmp_path)
    at = made.record_offsets(path)[17]
    made.flip(path, at + 20)
    import gzip

    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    refused(
        run(data={"files": [str(packed)], "format": "tfrecord"}), 1, f"{packed}, record 17 at byte {at} of the unpacked stream"
    )


def test_a_file_that_is_cut_off(run, tmp_path):
    path = tfrecord(tmp_path)
    offsets = made.record_offsets(path)
    made.cut(path, offsets[30] + 20)
    refused(
        run(data={"files": [str(path)]}),
        1,
        f"{path}, record 30 at byte {offsets[30]}: the file is cut off: expected ",
        "found 20",
    )


@pytest.mark.parametrize(
    "label, reason",
    [
        (np.int64(5), "1 labels are NaN or out of range"),  # there are five classes
        (np.int64(-1), "1 labels are NaN or out of range"),
    ],
)
def test_a_label_out_of_range_is_counted_and_the_value_null(run, tmp_path, label, reason):
    done, result = run(data={"files": [str(tfrecord(tmp_path, change=(9, {"label": label})))]})
    assert done.code == 0, done.err
    assert result["metrics"]["accuracy"] == {"value": None, "examples": 39, "reason": reason}
    assert reason in done.out  # people see it too


@pytest.mark.parametrize(
    "column, value, metric, reason",
    [
        ("target", np.nan, {"mean_absolute_error": {"label": "target"}}, "1 labels are NaN or out of range"),
        ("x", np.nan, {"mean_absolute_error": {"label": "target"}}, "1 predictions are NaN, infinite or out of range"),
        ("x", np.inf, {"mean": {}}, "1 predictions are NaN, infinite or out of range"),
        ("weight", np.nan, {"mean": {"weight": "weight"}}, "1 weights are NaN or infinite"),
    ],
)
def test_nan_is_counted_and_the_value_null(run, tmp_path, world, column, value, metric, reason):
    columns = {name: array[:40].copy() for name, array in COLUMNS.items()}
    columns[column][3] = value
    np.savez(tmp_path / "x.npz", **columns)
    (name,) = metric
    done, result = run(
        model=str(world.folder / "regression"), metrics=[metric], data={"files": ["x.npz"], "inputs": {"x": "x"}, "label": None}
    )
    assert done.code == 0, done.err
    entry = result["metrics"][name]
    assert entry["value"] is None and reason in entry["reason"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"x": None}, "feature 'x' is missing; the record has label, target, weight"),
        ({"x": np.arange(8)}, "feature 'x': expected float32 [8], found int64 values"),
        ({"x": np.zeros(7, np.float32)}, "feature 'x': expected float32 [8], that is 8 values, found 7"),
        ({"label": np.array([1, 2])}, "feature 'label': expected int64 [], that is 1 values, found 2"),
    ],
)
def test_a_record_with_another_feature_than_the_first(run, tmp_path, change, words):
    path = tfrecord(tmp_path, change=(33, change))
    at = made.record_offsets(path)[33]
    refused(run(data={"files": [str(path)]}), 1, f"{path}, record 33 at byte {at}: {words}")


@pytest.mark.parametrize(
    "keys, code, words",
    [
        ({"data": {"inputs": {"x": "pixels"}}}, 2, "the data has no feature 'pixels': valid: label, target, weight, x"),
        ({"data": {"inputs": {"y": "x"}}}, 2, "the model has no input 'y': valid: x"),
        ({"data": {"inputs": {"x": "label"}}}, 2, "model input 'x' takes float32 [8], feature 'label' is int64 [1]"),
        ({"data": {"label": "lable"}}, 2, "the data has no feature 'lable': did you mean 'label'?"),
        ({"data": {"label": None}}, 2, "metric accuracy: needs a label; set data.label, or label: of the metric"),
        ({"metrics": [{"accuracy": {"output": "logits"}}]}, 2, "metric accuracy: the model has no output 'logits': it has probabilities"),
        ({"metrics": [{"mean_absolute_error": {"label": "target"}}]}, 2, "found label 'target' float32 [B] and output 'probabilities' float"),
        ({"metrics": [{"top_k": {"k": 6}}]}, 2, "metric top_k: the output has 5 classes, fewer than k=6; of so many the label is always among the first: say {top_k: {k: K}} with a K below 5"),
        ({"metrics": ["acuracy"]}, 2, "unknown metric 'acuracy': did you mean 'accuracy'?"),
        ({"metrics": [{"top_k": {"kk": 3}}]}, 2, "metric top_k: unknown option 'kk': did you mean 'k'?"),
        ({"metrics": [{"top_k": {"k": 0}}]}, 2, "metric top_k: k: Input should be greater than or equal to 1, found 0"),
        ({"metrics": ["accuracy", "accuracy"]}, 2, "two metrics are reported as 'accuracy': give one another name"),
        ({"batchsize": 3}, 2, "unknown key 'batchsize': did you mean 'batch_size'?"),
        ({"model": "no/model"}, 2, "no/model: no such model"),
    ],
)  # fmt: skip
def test_a_job_that_does_not_fit(run, keys, code, words):
    refused(run(**keys), code, words)


def test_a_model_that_cannot_be_loaded(run, world, tmp_path):
    folder = tmp_path / "models"
    for version in ("1", "2"):
        (folder / version).mkdir(parents=True)
        (folder / version / "saved_model.pb").write_bytes(b"no model")
    refused(run(model=str(folder)), 2, f"{folder}/2: the model cannot be loaded: ")
    (tmp_path / "m.keras").write_bytes((world.folder / "classifier.keras").read_bytes()[:500])
    refused(run(model="m.keras"), 2, "m.keras: the model cannot be loaded: expected a .keras archive or a whole model in .h5")
    (tmp_path / "m.h5").write_bytes(b"x")
    refused(run(model="m.h5"), 2, "m.h5: the model cannot be loaded: ")
    (tmp_path / "none").mkdir()
    refused(run(model="none"), 2, "none: expected saved_model.pb or folders of numbered versions, found neither")
    refused(
        run(model={"path": str(world.folder / "classifier"), "signature": "serving_defalt"}),
        2,
        "no signature 'serving_defalt': did you mean 'serving_default'?",
    )


def test_a_folder_of_versions_gives_the_highest(run, world, tmp_path):
    import shutil

    (tmp_path / "v").mkdir()
    shutil.copytree(world.folder / "classifier", tmp_path / "v" / "10")
    (tmp_path / "v" / "9").mkdir()
    done, result = run(model="v")
    assert done.code == 0 and result["metrics"]["accuracy"]["value"] is not None
    assert json.loads((tmp_path / "run" / "run.json").read_text())["model"]["path"].endswith("v/10")


def test_a_keras_file_with_code_in_it_is_not_run(run, tmp_path):
    import keras

    model = keras.Sequential([keras.Input((8,)), keras.layers.Lambda(lambda x: x[:, :5])])
    model.save(tmp_path / "m.keras")
    refused(
        run(model="m.keras"),
        2,
        "m.keras: config.layers[1]: the configuration names a Lambda layer, which holds Python code; nothing of it was run",
    )


def test_a_run_folder_of_another_job(run, tmp_path):
    first, _ = run()
    assert first.code == 0
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    done, _ = run(batch_size=8)
    assert done.code == 2
    assert "its job differs from this one's (batch_size is 16 there and 8 here); choose another folder with -o" in done.err
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before
    again, _ = run()
    assert again.code == 0 and "this run is done already, nothing was evaluated" in again.out


def test_a_run_folder_that_holds_other_things_or_cannot_be_written(run, tmp_path):
    (tmp_path / "run").write_text("a file")
    found = run()
    assert found[0].code == 2 and "cannot be used as run folder: File exists; choose another with -o" in found[0].err
    (tmp_path / "run").unlink()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    refused(run(), 2, "not a run folder, and not empty; choose another with -o")
    if os.path.exists("/proc/self"):  # where nobody may write, root neither
        done, _ = run(argv=["-o", "/proc/self/run"])
        assert done.code == 2 and "/proc/self/run: cannot be used as run folder: " in done.err


def test_classes_that_cannot_be_read(run):
    refused(run(data={"classes": "no.txt"}), 2, "data.classes: no.txt cannot be read: No such file")


def test_an_npz_file_that_is_broken(run, tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\3\4")
    refused(run(data={"files": ["x.npz"]}), 1, "x.npz: not a readable .npz file")


@pytest.mark.parametrize(
    "argv, words",
    [
        (["evalute", "job.yaml"], "no command 'evalute': did you mean 'evaluate'?"),
        (["evaluate"], "Missing argument 'JOB'"),
        (["evaluate", "job.yaml", "--nope"], "harness evaluate has no option '--nope': "),
        (["launch", "--", "show", "x"], "launch starts 'evaluate JOB.yaml ...' or 'predict JOB.yaml ...', found 'show x'"),
        (["launch", "--", "evaluate", "no.yaml"], "no.yaml: no such job file"),
        (["launch", "-np", "none", "--dry-run", "--", "evaluate", "job.yaml"], "-np none: expected a number of ranks, or auto"),
        (["show", "nowhere"], "no finished run in there"),
    ],
)
def test_a_command_that_is_wrong(harness, world, tmp_path, argv, words):
    world.job(tmp_path / "job.yaml")
    done = harness(*argv)
    assert done.code == 2 and words in done.err, done.text


def test_launch_shows_the_command_and_leaves(harness, world, tmp_path):
    world.job(tmp_path / "job.yaml")
    done = harness("launch", "-np", "2", "--gloo", "--dry-run", "--", "evaluate", "job.yaml", "--set", "seed=1")
    assert done.code == 0
    assert "HOROVOD_STALL_CHECK_DISABLE=1" in done.out
    assert "horovodrun -np 2 --gloo " in done.out and done.out.rstrip().endswith("harness evaluate job.yaml --set seed=1")


@pytest.mark.parametrize(
    "signature, words",
    [
        (
            '[{"x": tf.TensorSpec([None, 8], tf.float32)}]',
            "argument 'a': expected a tf.TensorSpec, one tensor, found a dict of x",
        ),
        ("[tf.TensorSpec(None, tf.float32)]", "input 'a' is float32 <unknown>: expected examples along the first dimension"),
        ("[tf.TensorSpec([], tf.float32)]", "input 'a' is float32 (): expected examples along the first dimension"),
    ],
)
def test_a_factory_whose_signature_is_not_one_of_examples(run, tmp_path, signature, words):
    (tmp_path / "maker.py").write_text(
        f"import tensorflow as tf\n\n\ndef make():\n    return tf.function(lambda a: a, input_signature={signature})\n"
    )
    refused(run(model={"python": "maker:make"}), 2, words)

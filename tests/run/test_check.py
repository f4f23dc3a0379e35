"""`harness check`: what it says of a good job, and of what is wrong with a bad one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from harness.plan.plan import File, Plan
from harness.run.balance import busiest_share

HARNESS = Path(sys.executable).parent / "harness"
ROOT = Path(__file__).parents[2]


class Doubtful(tf.Module):
    """A model that draws random numbers (with a seed, or without) and counts its calls in a variable."""

    def __init__(self, seed: int | None) -> None:
        self.calls = tf.Variable(0.0)
        self.seed = seed

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="image")])
    def predict(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        self.calls.assign_add(1.0)
        return {"scores": image + tf.random.uniform([3], seed=self.seed)}


class Plain(tf.Module):
    """A model without surprises."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="image")])
    def predict(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": tf.nn.softmax(image), "norm": tf.norm(image, axis=1)}


class Raw(tf.Module):
    """A model that hands on logits, and one score of its own scale."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="image")])
    def predict(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": image - 1, "one": image[:, 0] - 1}


class Deaf(tf.Module):
    """A model that takes what is no number for 0, as a ReLU that is a maximum does."""

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="image")])
    def predict(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"scores": tf.nn.softmax(tf.where(image > 0, image, 0.0))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with data, three models and a job."""
    folder = tmp_path_factory.mktemp("check")
    images = np.arange(30, dtype=np.float32).reshape(10, 3)
    np.savez(folder / "data.npz", image=images, label=np.arange(10) % 3, heft=np.ones(10))
    holes = np.where(np.arange(30).reshape(10, 3) == 5, np.nan, images).astype(np.float32)
    np.savez(folder / "holes.npz", image=holes, label=np.arange(10) % 3, heft=np.ones(10))
    tf.random.set_seed(None)  # another test's would be in the graph of the model without one
    models = {"plain": Plain(), "seeded": Doubtful(3), "unseeded": Doubtful(None), "raw": Raw(), "deaf": Deaf()}
    for name, model in models.items():
        tf.saved_model.save(model, str(folder / name), signatures=model.predict)
    metrics = [{"accuracy": {"output": "scores", "weight": "heft"}}, {"mean": {"output": "norm"}}]
    job = {
        "model": "plain",
        "data": {"files": "data.npz", "label": "label"},
        "metrics": metrics,
        "batch_size": 2,
        "chunk_size": 4,
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(job))
    with tf.io.TFRecordWriter(str(folder / "cut.tfrecord")) as writer:
        writer.write(b"x" * 100)
    (folder / "cut.tfrecord").write_bytes((folder / "cut.tfrecord").read_bytes()[:90])
    return folder


# One process for all cases that load TensorFlow, which takes seconds: prints {case: [exit code, output, error]}.
DRIVER = """
import contextlib, io, json, sys
from harness.run.check import check
from harness.errors import HarnessError
from harness.job.job import Job
said = {}
for overrides in json.loads(sys.argv[1]):
    out, code, error = io.StringIO(), 0, ""
    with contextlib.redirect_stdout(out):
        try:
            code = check(Job.load("job.yaml", overrides))
        except HarnessError as exc:
            code, error = exc.exit_code, str(exc)
    said[overrides[0]] = [code, out.getvalue(), error]
print(json.dumps(said))
"""
BAD = {
    "metrics=[acuracy]": "unknown metric 'acuracy': did you mean 'accuracy'?",
    "data.files=none-*.npz": "'none-*.npz' matches nothing",
    "data.files=cut.tfrecord": "cut.tfrecord, record 0 at byte 0: the file is cut off",
    "model.path=elsewhere": "no such model",
    "data.label=lable": "the data has no feature 'lable': did you mean 'label'?",
    "metrics=[accuracy]": "metric accuracy: the model has several outputs, say which",
    "metrics=[{top_k: {k: 4, output: scores}}]": "metric top_k: the output has 3 classes, fewer than k=4",
    "metrics=[{mean_squared_error: {output: scores}}]": "expected label and output of one shape, found label 'label' int64 [B]",
    "model.path=unseeded": "the model draws random numbers without a seed (RandomUniform)",
}
ONE_OUTPUT = "metrics=[{accuracy: {output: scores}}]"  # the doubtful models have no other


RAW_METRICS = (
    "metrics=[{accuracy: {output: scores}}, {cross_entropy: {output: scores}}, {roc_auc: {output: one}}, "
    "{binary_accuracy: {output: one}}, {brier: {output: scores, from_logits: true}}]"
)


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, tuple[int, str, str]]:
    """Return exit code, output and error of every case, by its first override."""
    cases = [[case, ONE_OUTPUT] if case.startswith("model.path=un") else [case] for case in BAD]
    cases.append(["model.path=seeded", ONE_OUTPUT])
    cases.append(["model.path=raw", RAW_METRICS])
    cases.append(["data.files=holes.npz", ONE_OUTPUT])
    cases.append(["model.path=deaf", "data.files=holes.npz", "metrics=[accuracy, roc_auc, {gini: {positive: 1}}]"])
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(cases)], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return {case: tuple(found) for case, found in json.loads(done.stdout.splitlines()[-1]).items()}


def check(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    words = [word for override in overrides for word in ("--set", override)]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    return subprocess.run(
        [HARNESS, "check", "job.yaml", *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_a_good_job(folder: Path) -> None:
    done = check(folder)
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.replace("│", " ").split()) for line in done.stdout.splitlines()]
    size = (folder / "data.npz").stat().st_size
    for line in (
        f"data: npz, 1 file, 10 examples, {size:,} bytes",
        "plan: 3 chunks of 4 examples, 2 to 4, in batches of 2",
        "input image float32 [B, 3] image: float32 [3]",
        "output scores float32 [B, 3]",
        "output norm float32 [B]",
    ):
        assert line in lines
    assert any(line.startswith("accuracy scores label heft") for line in lines)
    assert any(line.startswith("mean norm ") for line in lines)
    assert lines[-1] == "the job is good: harness launch -- evaluate JOB.yaml"
    assert "draws random numbers" not in done.stdout and "changes its own variables" not in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said(case: str, said: dict[str, tuple[int, str, str]]) -> None:
    code, out, error = said[case]
    assert code == 2, out
    assert BAD[case] in error


def test_the_command_ends_with_2_and_a_message(folder: Path) -> None:
    done = check(folder, "data.files=cut.tfrecord")
    assert done.returncode == 2
    assert done.stderr.startswith("harness: error: cut.tfrecord, record 0 at byte 0: the file is cut off")


def test_what_predictions_depend_on_besides_the_example_is_named(said: dict[str, tuple[int, str, str]]) -> None:
    code, out, error = said["model.path=seeded"]
    assert code == 0, error
    assert "note: the model draws random numbers of its own (RandomUniform)" in out
    assert "note: the model changes its own variables while it predicts (AssignAddVariableOp)" in out


def test_what_the_first_batch_makes_null_is_said(said: dict[str, tuple[int, str, str]]) -> None:
    """Images are 0 1 2 and 3 4 5, scores one less, labels 0 and 1, in batches of 2."""
    code, out, error = said["model.path=raw"]
    assert code == 0, error
    lines = out.splitlines()
    null = "null already after the first 2 examples: 2 predictions are no probabilities (outside [0, 1]"
    assert any(f"metric cross_entropy: {null}: 2 in class 0): set from_logits: true" in line for line in lines)
    assert any(f"metric binary_accuracy: {null}: 2 in class 1): set from_logits: true" in line for line in lines)
    assert not any(f"metric {key}: null" in line for line in lines for key in ("accuracy", "roc_auc", "brier"))
    assert lines[-1] == "the job would run, and these would be null: cross_entropy, binary_accuracy"


def test_a_number_that_is_missing_is_named_with_its_record(said: dict[str, tuple[int, str, str]]) -> None:
    code, out, error = said["data.files=holes.npz"]
    assert code == 0, error
    assert "note: what the model reads: image[2] is nan in holes.npz, record 1: data.filter leaves such examples out" in out


def test_a_number_that_is_missing_is_named_where_no_metric_shows_it(said: dict[str, tuple[int, str, str]]) -> None:
    code, out, error = said["model.path=deaf"]
    assert code == 0, error
    assert "image[2] is nan in holes.npz, record 1" in out and "so no metric shows it" in out
    assert "the job is good" in out


def test_metrics_of_one_class_of_several_are_named(said: dict[str, tuple[int, str, str]]) -> None:
    """Only where the job does not say of which, and not those that read a single score."""
    notes = [
        [line for line in said[case][1].splitlines() if "against all others" in line]
        for case in ("model.path=deaf", "model.path=raw")
    ]
    assert notes[0] == [
        "note: roc_auc: of class 1 against all others, of the 3 that 'scores' scores; positive: NUMBER says which; "
        "one_vs_rest_roc_auc is of all classes"
    ]
    assert notes[1] == ["note: brier: of class 1 against all others, of the 3 that 'scores' scores; positive: NUMBER says which"]


def test_data_is_opened_and_a_plan_cut_without_tensorflow(folder: Path) -> None:
    code = (
        "import sys; from harness.job.job import Job; import harness.run.check as c, harness.prepare.opened as p;"
        "print(p.open_data(Job.load('job.yaml')).plan.examples, 'tensorflow' in sys.modules)"
    )
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["10", "False"]


def test_busiest_share() -> None:
    whole = Plan((File("a", 0, 30, divisible=False), File("b", 0, 10, divisible=False)), 10, 10)
    assert busiest_share(whole, 2) == 1.5  # 30 of 40, an even share is 20
    assert busiest_share(Plan((File("a", 0, 40),), 10, 10), 4) == 1.0
    assert busiest_share(Plan((File("a", 0, 10),), 10, 10), 3) == 3.0  # one chunk, two ranks idle

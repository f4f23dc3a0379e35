"""Messages as a user reads them: a command line that was meant otherwise, code of the user's own that fails, names that are not there."""

from __future__ import annotations

import numpy as np
import pytest

from tests import made

EXAMPLES = made.examples()


@pytest.fixture
def job(world, tmp_path):
    """Write a job on one small file beside it."""
    columns = {name: array[:40] for name, array in EXAMPLES.columns().items()}
    np.savez(tmp_path / "d.npz", **columns)

    def job(**keys):
        data = {"files": ["d.npz"], "format": "npz", "inputs": {"x": "x"}, **keys.pop("data", {})}
        return world.job(tmp_path / "job.yaml", data=data, **keys)

    return job


ALONE = "this command is one rank, and several are started by: harness launch -np N -- evaluate ...; 'harness evaluate --help' lists all"


@pytest.mark.parametrize(
    "argv, message",
    [
        ("evaluate job.yaml --np 2", f"harness evaluate has no option '--np': {ALONE}"),
        ("evaluate job.yaml --gpus=2", f"harness evaluate has no option '--gpus': {ALONE}"),
        (
            "evaluate job.yaml --batch-size 8",
            "harness evaluate has no option '--batch-size': it is a key of the job: --set batch_size=VALUE; 'harness evaluate "
            "--help' lists all",
        ),
        (
            "evaluate job.yaml --outptu x",
            "harness evaluate has no option '--outptu': did you mean '--output'? 'harness evaluate --help' lists all",
        ),
        (
            "evaluate job.yaml --force",
            "harness evaluate has no option '--force': did you mean '--overwrite'? 'harness evaluate --help' lists all",
        ),
        ("show --quit x", "harness show has no option '--quit': did you mean '--quiet'? 'harness show --help' lists all"),
        (
            "launch --np 2 -- evaluate job.yaml",
            "harness launch has no option '--np': say -np N; 'harness launch --help' lists all",
        ),
        (
            "launch -np 2 -- evaluate job.yaml --dry-run",
            "harness evaluate has no option '--dry-run': it is an option of harness launch, and stands before the --; "
            "'harness evaluate --help' lists all",
        ),
        (
            "launch -np 2 job.yaml",
            "launch starts 'evaluate JOB.yaml ...' or 'predict JOB.yaml ...', found 'job.yaml'; say evaluate before it",
        ),
        (
            "launch -- evalute job.yaml",
            "launch starts 'evaluate JOB.yaml ...' or 'predict JOB.yaml ...', found 'evalute job.yaml'; did you mean 'evaluate'?",
        ),
        ("launch --dry-run -- evaluate m.keras d.npz --metrics nope", "unknown metric 'nope': 'harness metrics' lists all 119"),
        ("metrics F1_score", "unknown metric 'F1_score': did you mean 'f1'? 'harness metrics' lists all 119"),
        (
            "evaluate m.keras",
            "m.keras: expected a job file, found a model: name the data behind it, harness evaluate m.keras DATA --label NAME, or "
            "write the job with harness init m.keras DATA",
        ),
        (
            "check d.npz",
            "d.npz: expected a job file, found data: name the model before it, harness evaluate MODEL d.npz --label NAME, or write "
            "the job with harness init MODEL d.npz",
        ),
        ("show", "Missing argument 'RUN'; 'harness show --help' says how it is used"),
    ],
)
def test_a_command_line_that_was_meant_otherwise(harness, job, argv, message):
    job()
    done = harness(*argv.split())
    assert (done.code, done.out, done.err) == (2, "", f"harness: error: {message}\n")


def test_a_draft_is_launched_as_a_job_is(harness, world, job):
    job()
    command = f"evaluate {world.folder / 'classifier.keras'} d.npz --label label -o r"
    done = harness("-q", "launch", "-np", "2", "--gloo", "--dry-run", "--", *command.split())
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith(f"harness {command} -q\n")
    missing = harness("launch", "--dry-run", "--", *command.replace("d.npz", "e.npz").split())
    assert (missing.code, missing.err.partition(" (")[0]) == (2, "harness: error: data.files: no such file: e.npz")


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"slices": ["nope"]}, "slices: the data has no feature 'nope': valid: label, target, weight, x\n"),
        ({"slices": ["weight > 1"]}, "; slices are by features: buckets cut numbers, and a transform makes further features\n"),
        ({"bootstrap": {"cluster": "user"}}, "bootstrap.cluster: the data has no feature 'user': valid: "),
        ({"metrics": ["accuracy", {"f1": {"label": "lable"}}]}, "metric f_beta: label: the data has no feature 'lable': did you mean 'label'?"),
        ({"data": {"weight": "x > 1"}}, "data.weight: feature 'x' has shape [8], expected one value per example\n"),
    ],
)  # fmt: skip
def test_a_name_is_called_by_the_key_it_stands_under(harness, job, keys, message):
    done = harness("evaluate", job(**keys))
    assert done.code == 2 and message in done.err, done.err


OWN = """
import numpy as np
import tensorflow as tf
from harness.metrics.classification import ClassMetric
from harness.metrics.contract import HostMetric, Number


class Cost(ClassMetric):
    summary = "x"
    def terms(self, labels, predictions):
        return {"cost": Number(tf.cast(tf.reduce_max(predictions, -1), tf.float64))}
    def value(self, totals):
        return totals.mean("cost")

class Traced(Cost):
    def terms(self, labels, predictions):
        return look_up(predictions)

class Truth(Cost):
    def terms(self, labels, predictions):
        if tf.reduce_any(labels > 3):
            return {}

class Bare(Cost):
    def terms(self, labels, predictions):
        return tf.reduce_max(predictions, -1)

class Python(Cost):
    def terms(self, labels, predictions):
        cost = tf.numpy_function(lambda p: p[:, 7], [predictions], tf.float32)
        return {"cost": Number(tf.cast(tf.ensure_shape(cost, predictions.shape[:1]), tf.float64))}

class Host(HostMetric, ClassMetric):
    summary = "x"
    def columns(self):
        return ("a",)
    def host_terms(self, labels, predictions):
        if len(labels):
            raise LookupError("not in my table")
        return np.zeros((0, 1))
    def value(self, totals):
        return 0.0

class Error(Cost):
    def standard_error(self, totals):
        return 1 / 0

def look_up(predictions):
    return {}["nothing"]

def helper(features):
    return features["lable"]

def missing(features):
    features["x"] = helper(features)
    return features

def shapes(features):
    return {**features, "x": tf.matmul(features["x"], tf.ones([3, 8]))}

pair = (lambda v: v * 1, lambda v: v + 1)

def lambdas(features):
    return {**features, "x": pair[0](features["x"])}

def walrus(features):
    if (highest := tf.reduce_max(features["x"])) > 9:
        features["x"] = features["x"] + highest
    return features

def python(features):
    x = tf.numpy_function(lambda x: x[:, 99], [features["x"]], tf.float32)
    return {**features, "x": tf.ensure_shape(x, features["x"].shape)}
"""
LINE = {text.strip(): number for number, text in enumerate(OWN.splitlines(), 1)}
TENSOR = "a tensor stands where Python wants a value (if, while, for, and, or, not), in code that TensorFlow cannot turn into operations"


@pytest.mark.parametrize(
    "own, message, line",
    [
        ("Traced", "metric Traced: Traced.terms raised KeyError: 'nothing'", 'return {}["nothing"]'),
        ("Truth", f"metric Truth: Truth.terms raised OperatorNotAllowedInGraphError: {TENSOR}", "if tf.reduce_any(labels > 3):"),
        ("Python", "metric Python: IndexError: index 7 is out of bounds for axis 1 with size 5", "cost = tf.numpy_function(lambda p: p[:, 7], [predictions], tf.float32)"),
        ("Host", "metric Host: Host.host_terms raised LookupError: not in my table", 'raise LookupError("not in my table")'),
        ("Error", "metric Error: Error.standard_error raised ZeroDivisionError: division by zero", "return 1 / 0"),
        ("missing", "data.transform: own:missing fails: KeyError: 'lable': no such feature; did you mean 'label'? valid: label, target, weight, x", 'return features["lable"]'),
        ("shapes", "data.transform: own:shapes fails: ValueError: Dimensions must be equal, but are 8 and 3 with input shapes: [?,8], [3,8]", 'return {**features, "x": tf.matmul(features["x"], tf.ones([3, 8]))}'),
        ("walrus", f"data.transform: own:walrus fails: OperatorNotAllowedInGraphError: {TENSOR}", 'if (highest := tf.reduce_max(features["x"])) > 9:'),
        ("python", "data.transform: own:python fails: IndexError: index 99 is out of bounds for axis 1 with size 8", 'x = tf.numpy_function(lambda x: x[:, 99], [features["x"]], tf.float32)'),
    ],
)  # fmt: skip
def test_code_of_the_users_own_is_named_with_its_line(harness, job, tmp_path, own, message, line):
    (tmp_path / "own.py").write_text(OWN)
    keys = (
        {"metrics": ["accuracy", {"python": f"own:{own}"}, "f1"]} if own[0].isupper() else {"data": {"transform": f"own:{own}"}}
    )
    done = harness("evaluate", job(**keys))
    assert done.code in (1, 2)
    (error,) = [text for text in done.err.splitlines() if text.startswith("harness: error: ")]
    assert message in error and error.endswith(f" ({tmp_path}/own.py:{LINE[line]})")
    assert "Traceback" not in done.err and "harness/" not in done.err


def test_terms_without_names_are_refused(harness, job, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    done = harness("check", job(metrics=[{"python": "own:Bare"}]))
    assert (done.code, done.err) == (
        2,
        "harness: error: metric Bare: Bare.terms returned a SymbolicTensor, expected terms by name, as in {'cost': Number(cost)}\n",
    )


def test_libraries_speak_where_they_are_asked_to(harness, job, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    path = job(data={"transform": "own:lambdas"})
    assert harness("check", path).err == ""
    assert "AutoGraph could not transform" in harness("check", "-v", path).err
    failing = harness("check", "-v", job(metrics=[{"top_k": {"k": 6}}]))
    assert "Traceback" in failing.err and "harness: error: metric top_k: the output has 5 classes" in failing.err
    failing = harness("evaluate", "-v", path, "--set", "metrics=[{python: own:Traced}]")
    assert 'return {}["nothing"]' in failing.err and failing.err.count("harness: error: metric Traced") == 1

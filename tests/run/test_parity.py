"""Two models on the same examples: differences against NumPy, exit codes, what is wrong before any work."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import special
from statsmodels.stats.contingency_tables import mcnemar

from harness.errors import JobError, UsageError
from harness.job.job import Job
from harness.prepare.parity import ParityLimits, Sides, parity_job
from tests import made
from tests.conftest import start
from tests.models.test_endpoints import Server

ATOL = 1e-3


NAN_ABOVE = 3.0  # of the sum of an example's features, where a model is broken


def saved(folder, scale, broken_above=math.inf):
    """Write the classifier with weights that are off, and NaN for the examples whose features add up to more than a bound."""

    class Dense(tf.Module):
        def __init__(self):
            kernel = made.kernel()
            self.kernel = tf.Variable(kernel + np.random.default_rng(5).normal(size=kernel.shape).astype("f") * scale)

        @tf.function(input_signature=[tf.TensorSpec([None, made.WIDTH], tf.float32, name="x")])
        def serve(self, x):
            broken = tf.reduce_sum(x, axis=1, keepdims=True) > broken_above
            return {"probabilities": tf.where(broken, np.float32("nan"), tf.nn.softmax(x @ self.kernel))}

    module = Dense()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


@pytest.fixture(scope="module")
def moved(world, tmp_path_factory):
    """The classifier with weights that are a little off."""
    return saved(tmp_path_factory.mktemp("moved") / "model", 1e-2)


@pytest.fixture(scope="module")
def servers(world, tmp_path_factory):
    """Two servers of a model m: the classifier, and one whose weights are far off; the second has a broken model too."""
    folders = [tmp_path_factory.mktemp(name) for name in ("live", "shadow", "broken")]
    (folders[0] / "1").symlink_to(world.folder / "classifier")
    saved(folders[1] / "2", 0.5)
    saved(folders[2] / "1", 0.0, NAN_ABOVE)
    started = [Server({"m": folders[0]}), Server({"m": folders[1], "broken": folders[2]})]
    yield started
    for server in started:
        server.kill()


@pytest.fixture(scope="module")
def outputs(world, moved):
    """What both say of all examples, float64 [N, C]."""
    x = tf.constant(made.examples().x)
    return [
        tf.saved_model.load(str(folder)).signatures["serving_default"](x=x)["probabilities"].numpy().astype(np.float64)
        for folder in (world.folder / "classifier", moved)
    ]


@pytest.fixture
def job(world, tmp_path):
    data = {"files": str(world.folder / "all.npz"), "label": "label"}
    return world.job(tmp_path / "job.yaml", data=data, slices=["label"])


def test_how_far_two_models_are_apart_by_output_slice_and_example(harness, job, moved, outputs, tmp_path):
    done = harness("parity", job, "--against", moved, "--atol", ATOL, "--rtol", 0, "--worst", 5, "-o", tmp_path / "run")
    assert done.code == 1, done.err
    document = json.loads((tmp_path / "run" / "parity.json").read_text())
    reference, candidate = outputs
    labels = made.examples().label
    for part, chosen in [(document, slice(None)), *((part, labels == part["slice"]["label"]) for part in document["slices"])]:
        apart = np.abs(candidate - reference)[chosen]
        (numbers,) = part["outputs"]
        assert numbers["within"] == pytest.approx(np.isclose(candidate[chosen], reference[chosen], rtol=0, atol=ATOL).mean())
        assert numbers["mean_difference"] == pytest.approx(apart.mean(), rel=1e-3)
        assert numbers["largest_difference"] == pytest.approx(apart.max(), rel=1e-3)
        right, base_right = (scores[chosen].argmax(axis=1) == labels[chosen] for scores in (candidate, reference))
        (decisions,) = part["decisions"]
        assert decisions["only_candidate_right"] == (right & ~base_right).sum()
        assert decisions["only_reference_right"] == (~right & base_right).sum()
        flipped = candidate[chosen].argmax(axis=1) != reference[chosen].argmax(axis=1)
        assert decisions["flip_rate"] == pytest.approx(flipped.mean())
    assert len(document["slices"]) == made.CLASSES and document["examples"] == made.EXAMPLES
    worst = np.argsort(-np.abs(candidate - reference).sum(axis=1), kind="stable")[:5]
    whole = [example for example in document["worst"] if not example["group"]]
    assert [example["id"] for example in whole] == worst.tolist()
    assert "FAIL" in done.out and json.loads((tmp_path / "run" / "gate.json").read_text())["verdict"] == "FAIL"


def test_exit_codes_say_whether_two_models_agree(harness, world, job, moved, outputs, tmp_path):
    same = harness("parity", job, "--against", world.folder / "classifier", "-o", tmp_path / "same")
    assert same.code == 0 and "PASS" in same.out
    document = json.loads((tmp_path / "same" / "parity.json").read_text())
    assert document["outputs"][0]["within"] == 1.0 and document["outputs"][0]["largest_difference"] == 0.0
    share = float(np.isclose(outputs[1], outputs[0], rtol=0, atol=ATOL).mean())
    words = ["parity", job, "--against", moved, "--atol", ATOL, "--rtol", 0, "--overwrite", "-o", tmp_path / "moved"]
    codes = {bound: harness(*words, "--within", bound).code for bound in (share - 0.2, share + 0.001, (1 + share) / 2)}
    assert list(codes.values()) == [0, 5, 1]
    assert harness(*words, "--within", 0.01, "--largest", 1e-6).code == 1
    assert harness(*words, "--within", 0.01, "--flips", 0.9).code == 0


def test_a_shadow_against_the_live_endpoint(harness, world, servers, tmp_path):
    live, shadow = servers
    models = {
        "live": {"endpoint": f"grpc://127.0.0.1:{live.grpc}", "name": "m"},
        "shadow": {"endpoint": f"http://127.0.0.1:{shadow.rest}", "name": "m", "version": 2},
    }
    data = {"files": str(world.folder / "all.npz"), "label": "label"}
    job = world.job(tmp_path / "job.yaml", model=None, models=models, data=data, slices=["label"])
    words = ["parity", job, "--atol", 0.1, "--rtol", 0, "-o", tmp_path / "run", "--overwrite"]
    assert (done := harness(*words, "--worst", 7)).code == 1, done.err
    document = json.loads((tmp_path / "run" / "parity.json").read_text())
    assert (document["reference"], document["candidate"]) == ("live", "shadow")

    examples = made.examples()
    scores = np.float64(examples.x) @ np.float64(made.kernel())
    noise = np.random.default_rng(5).normal(size=made.kernel().shape).astype("f") * 0.5
    before, after = (special.softmax(s, axis=1) for s in (scores, np.float64(examples.x) @ np.float64(made.kernel() + noise)))
    right = [outputs.argmax(axis=1) == examples.label for outputs in (before, after)]
    for part, chosen in [
        (document, slice(None)),
        *((part, examples.label == part["slice"]["label"]) for part in document["slices"]),
    ]:
        (decisions,), (output,) = part["decisions"], part["outputs"]
        table = [[int((a & b)[chosen].sum()) for b in (right[1], ~right[1])] for a in (right[0], ~right[0])]
        names = [["both_right", "only_reference_right"], ["only_candidate_right", "both_wrong"]]
        assert [[decisions[name] for name in row] for row in names] == table
        assert decisions["p"] == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-9)
        assert output["within"] == pytest.approx((np.abs(before - after)[chosen] <= 0.1).mean(), abs=1e-12)
        assert output["largest_difference"] == pytest.approx(np.abs(before - after)[chosen].max(), rel=1e-4)
        assert output["mean_difference"] == pytest.approx(np.abs(before - after)[chosen].mean(), rel=1e-4)
    assert len(document["slices"]) == made.CLASSES
    worst = [example for example in document["worst"] if not example["group"]]
    assert [example["id"] for example in worst] == np.argsort(-np.abs(before - after).sum(axis=1))[:7].tolist()
    (account,) = json.loads((tmp_path / "run" / "run.json").read_text())["attempts"][-1]["ranks"]
    assert [set(account["endpoints"][name]["versions"]) for name in models] == [{"1"}, {"2"}]

    flips = float((before.argmax(axis=1) != after.argmax(axis=1)).mean())
    assert 0.02 < flips < 0.9
    bounds = (flips + 0.15, flips + 0.001, flips / 4)
    assert [harness(*words, "--within", 0.01, "--flips", bound).code for bound in bounds] == [0, 5, 1]


def test_numbers_that_are_nan_in_a_model_are_no_parity(harness, job, servers, tmp_path):
    broken = ["--endpoint", f"grpc://127.0.0.1:{servers[1].grpc}", "--name", "broken"]
    done = harness("parity", job, *broken, "--within", 0.5, "--flips", 0.5, "--worst", 100, "-o", tmp_path / "run")
    assert done.code == 1 and "error" not in done.err, done.text
    lost = np.flatnonzero(made.examples().x.sum(axis=1) > NAN_ABOVE).tolist()
    said = " ".join(done.out.split())
    assert f"flip_rate, mcnemar: null, {len(lost)} predictions are NaN" in said and "agrees with nothing" in said
    document = json.loads((tmp_path / "run" / "parity.json").read_text())
    worst = [example for example in document["worst"] if not example["group"]]
    assert sorted(example["id"] for example in worst if example["distance"] is None) == lost
    gate = json.loads((tmp_path / "run" / "gate.json").read_text())
    assert gate["verdict"] == "FAIL" and all(rule["reason"].startswith("it is null in endpoint: ") for rule in gate["rules"])


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "parity is of two models, and it is not said which is held against reference: --against MODEL"),
        (["--against", "gone"], "gone: "),
        (["--model", "other", "--against", "x"], "--model other: the job has no such model"),
        (["--name", "m"], "--name goes with --endpoint URL"),
        (["--endpoint", "grpc://localhost:1"], "say what the server calls the model: --name NAME"),
        (["--endpoint", "localhost", "--name", "m"], "expected a URL as grpc://HOST:8500"),
        (["--against", "a", "--endpoint", "grpc://localhost:1", "--name", "m"], "say one of them"),
        (["--against", "a", "--within", "2"], "2.0 is not in the range"),
    ],
)
def test_what_is_wrong_is_said_before_any_work(harness, job, words, message):
    done = harness("parity", job, *words)
    assert done.code == 2 and message in done.err and "Traceback" not in done.err


KEYS = {
    "data": {"files": "x.npz", "label": "y"},
    "metrics": ["accuracy", {"mean_absolute_error": {"label": "z", "output": "amount"}}],
}


def test_of_several_models_two_are_chosen_and_nothing_else_of_the_job_is_lost():
    models = {"live": "a", "shadow": {"endpoint": "grpc://h:1", "name": "m", "deadline": 3}, "old": "c"}
    job = Job.from_dict(
        {**KEYS, "models": models, "seed": 7, "gate": {"model": "old", "rules": [{"accuracy": {"at_least": 0.5}}]}}, name="n"
    )
    parity = parity_job(job, Sides("live", "shadow"), ParityLimits())
    assert list(parity.models) == ["live", "shadow"] and parity.models["shadow"].deadline == 3
    assert parity.seed == 7 and parity.name == "n-parity" and parity.output_folder.name == "n-parity"
    with pytest.raises(UsageError, match="--against shadow or old"):
        parity_job(job, Sides("live"), ParityLimits())
    with pytest.raises(UsageError, match="--against live: that is the reference itself"):
        parity_job(job, Sides("live", "live"), ParityLimits())
    with pytest.raises(UsageError, match="--against shadw: the job has no such model: did you mean 'shadow'"):
        parity_job(job, Sides("live", "shadw"), ParityLimits())


def test_a_bound_on_decisions_needs_a_metric_that_decides():
    job = Job.from_dict({**KEYS, "model": "m", "metrics": ["mean_squared_error"]})
    with pytest.raises(JobError, match="--flips: no metric of the job reads a class"):
        parity_job(job, Sides(candidate="b"), ParityLimits(flips=0.1))


def test_two_ranks_write_the_same_parity(job, moved, tmp_path):
    words = ["parity", job, "--against", moved, "--atol", str(ATOL)]
    for ranks in (1, 2):
        done = start(["harness", "launch", "-np", str(ranks), "--", *words, "-o", tmp_path / str(ranks)], tmp_path)
        assert done.code == 1, done.err
    files = [(tmp_path / str(ranks) / name).read_bytes() for name in ("parity.json", "metrics.json") for ranks in (1, 2)]
    assert files[0] == files[1] and files[2] == files[3]

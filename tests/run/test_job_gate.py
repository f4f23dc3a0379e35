"""The gate of a job: found wrong before any work, judged when the run is done and each time it is started again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

import harness as package
from harness.errors import RunFolderError, UsageError
from harness.folder.run_folder import RunFolder, read_json
from harness.job.job import Job
from harness.metrics.question import Question
from harness.prepare.binding import make_metrics
from harness.results.evidence import Evidence, data_keys
from harness.results.first_pass import FirstPass, first_pass
from harness.run.job_gate import JobGate, settle
from tests import made

KEYS = {
    "model": "m",
    "data": {"files": "x.npz", "label": "y"},
    "metrics": ["accuracy", {"f_beta": {"average": "macro"}}, {"top_k": {"k": 3}}],
    "slices": ["writer", ["writer", "kind"]],
}


def gate_of(gate, folder=".", **keys) -> JobGate | None:
    job = Job.from_dict({**KEYS, **keys, "gate": gate}, folder=folder)
    return JobGate.of(job, make_metrics(job))


@pytest.mark.parametrize(
    "rule",
    [
        {"accuracy": {"at_least": 0.9}},
        {"f1": {"at_least": 0.9}},  # short for f_beta
        {"f_beta": {"by": ["kind", "writer"], "at_least": 0.9}},
        {"top 3": {"at_least": 0.9}},  # its label
        {"top_k/some class": {"at_least": 0.9}},  # a number whose name is not known before the run
        {"gap": {"metric": "accuracy", "by": "writer", "at_most": 0.1}},
        {"nulls": {"at_most": 0}},
    ],
)
def test_what_may_turn_out_to_be_there_is_taken(rule):
    gate = gate_of([rule], bootstrap={"replicates": 200})
    assert gate is not None and gate.described == "1 rule"
    assert gate_of([{"f1": {"at_least": 0.9, "interval": False}}, {"accuracy": {"at_least": 0.9}}]) is not None


@pytest.mark.parametrize(
    "gate, keys, message",
    [
        ("none.yaml", {}, "none.yaml: cannot be read"),
        ([], {}, "no rules: a gate without rules would pass everything"),
        ([{"accuracy": {"atleast": 0.9}}], {}, "rule 1 (accuracy): unknown key atleast: did you mean 'at_least'?"),
        (
            [{"f1": {"at_least": 0.9}}],
            {"bootstrap": None},
            "the rule on f1: it has no interval without a bootstrap: bootstrap: {replicates",
        ),
        ([{"acuracy": {"at_least": 0.9}}], {}, "the rule on acuracy: the job has no such metric: did you mean 'accuracy'?"),
        ([{"accuracy": {"by": "kind", "at_least": 0.9}}], {}, "the job has no slices by kind: valid: kind x writer, writer"),
        ([{"accuracy": {"by": "kind", "at_least": 0.9}}], {"slices": None}, "the job has no slices: add `slices:`"),
        ([{"accuracy": {"may_drop": 0.1}}], {}, "a rule is against a baseline: name it"),
        ({"rules": [{"accuracy": {"may_drop": 0.1}}], "baseline": "old"}, {}, "old: no finished run in there"),
        ({"rules": [{"accuracy": {"at_least": 0.1}}], "model": "b"}, {}, "the job has no model 'b'"),
        (
            [{"accuracy": {"at_least": 0.1}}],
            {"model": None, "models": {"a": "1", "b": "2"}},
            "say which is judged, model: a or b",
        ),
        ([{"nulls": {"at_most": 0}}], {}, None),
        ({"rules": [{"accuracy": {"at_least": 0}}], "model": "b"}, {"model": None, "models": {"a": "1", "b": "2"}}, None),
        ([{"a/accuracy": {"at_least": 0}}], {"model": None, "models": {"a": "1"}}, None),
    ],
)
def test_what_could_not_be_judged_is_found_before_any_work(gate, keys, message, tmp_path):
    if message is None:
        assert gate_of(gate, tmp_path, **keys) is not None
        return
    with pytest.raises(UsageError) as caught:
        gate_of(gate, tmp_path, **keys)
    assert str(caught.value).startswith("gate: ") and message in str(caught.value) and caught.value.exit_code == 2


DROP, BY_KIND = {"accuracy": {"may_drop": 0.1}}, {"accuracy": {"by": ["writer", "kind"], "may_drop": 0.1}}
DRAWN = {"bootstrap": {"replicates": 20}}


@pytest.mark.parametrize(
    "rule, job, baseline, message",
    [
        (DROP, DRAWN, DRAWN, None),
        (BY_KIND, DRAWN, DRAWN, None),
        (DROP, {}, DRAWN, "the job cannot be held against old: the job has no bootstrap"),
        (DROP, DRAWN, {}, "old has no bootstrap"),
        (DROP, {"bootstrap": {"replicates": 20, "seed": 1}}, DRAWN, "bootstrap.seed is 0 and 1. Evaluate both alike"),
        (DROP, {}, {}, "neither the job nor old has a bootstrap"),
        ({"accuracy": {"may_drop": 0.1, "interval": False}}, {}, {}, None),
        (DROP, {**DRAWN, "data": {**KEYS["data"], "limit": 10}}, DRAWN, "data.limit is not given and 10"),
        (DROP, {**DRAWN, "data": {**KEYS["data"], "inputs": {"a": "b"}}}, DRAWN, None),  # models may read other features
        (BY_KIND, DRAWN, {**DRAWN, "slices": ["writer"]}, "the rule on accuracy: old has no slices by writer x kind"),
        (BY_KIND, {"bootstrap": {"replicates": 20, "slice_replicates": False}}, DRAWN, "no replicates of slices are kept"),
        ({"accuracy": {"at_least": 0.1}}, {}, {**DRAWN, "data": {**KEYS["data"], "sample": 0.5}}, None),  # against no baseline
    ],
)
def test_a_job_that_cannot_be_paired_with_its_baseline_is_found_before_any_work(rule, job, baseline, message, monkeypatch):
    before = Job.from_dict({**KEYS, **baseline})
    evidence = Evidence({}, Question({}, {}, slices=before.slices, bootstrap=before.bootstrap), data_keys(before.resolved))
    monkeypatch.setattr("harness.run.job_gate.evidence_of", lambda path: evidence)
    gate = {"rules": [rule], "baseline": "old"}
    if message is None:
        assert gate_of(gate, **job) is not None
        return
    with pytest.raises(UsageError) as caught:
        gate_of(gate, **job)
    assert str(caught.value).startswith("gate: ") and message in str(caught.value)


def test_a_gate_changes_no_value_and_its_paths_lie_beside_the_job(tmp_path):
    (tmp_path / "rules.yaml").write_text("- accuracy: {at_least: 0.9}\n")
    gate = gate_of({"rules": "rules.yaml", "inconclusive": "fail"}, tmp_path)
    assert gate is not None and gate.described == "1 rule"
    assert gate_of([{"f1": {"at_least": 0.9, "interval": False}}, {"accuracy": {"at_least": 0.9}}]) is not None
    with_gate, without = (Job.from_dict({**KEYS, **gate}) for gate in ({"gate": "rules.yaml"}, {}))
    assert with_gate.digest == without.digest and with_gate.resolved["gate"] == {"rules": "rules.yaml"}
    assert JobGate.of(without, make_metrics(without)) is None
    with pytest.raises(UsageError, match="carries"):
        Job.from_dict({**KEYS, "gate": "https://user:secret@host/rules.yaml"})


GATES = {"fails": {"at_least": 0.99}, "is not known": {"at_least": 0.65}, "passes": {"at_least": 0.5}}


def rules(name: str, **more) -> str:
    return f"gate={yaml.safe_dump({'rules': [{'accuracy': GATES[name]}], **more}, default_flow_style=True)}"


def test_a_run_is_judged_when_it_is_done_and_again_by_the_rules_as_they_are(harness, world, tmp_path, monkeypatch, capsys):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump([{"accuracy": GATES["fails"]}]))
    job = world.job(tmp_path / "job.yaml", gate="rules.yaml")
    folder, plain = RunFolder(tmp_path / "run"), tmp_path / "plain"
    assert harness("evaluate", world.job(tmp_path / "plain.yaml"), "-o", plain).code == 0

    def status() -> dict:
        return read_json(folder.status_json)

    # A gate that fails: the run is done, with the bytes of one that has no gate.
    done = harness("evaluate", job, "-o", folder.path)
    assert done.code == 1, done.text
    assert "accuracy at least 0.99 │    FAIL │" in done.out and done.out.endswith("FAIL: run\n")
    assert status() == {"state": "done", "exit_code": 1, "gate": {"verdict": "FAIL", "exit_code": 1}}
    assert (plain / "metrics.json").read_bytes() == folder.metrics_json.read_bytes()
    assert read_json(plain / "status.json") == {"state": "done", "exit_code": 0} and not (plain / "gate.json").exists()
    gate = read_json(folder.gate_json)
    assert (gate["verdict"], gate["run"], gate["baseline"]) == ("FAIL", "run", None)
    record = folder.run_json.read_bytes()

    # Started again it evaluates nothing, and is judged by the rules as they are now.
    for more, code, verdict in [
        ([], 1, "FAIL"),
        (["--resume", "--set", rules("passes")], 0, "PASS"),
        (["--set", rules("is not known")], 5, "INCONCLUSIVE"),
        (["--set", rules("is not known", inconclusive="pass")], 0, "INCONCLUSIVE"),
        (["--set", rules("is not known", inconclusive="fail", baseline=str(plain))], 1, "INCONCLUSIVE"),
    ]:
        done = harness("evaluate", job, "-o", folder.path, *more)
        assert (done.code, read_json(folder.gate_json)["verdict"]) == (code, verdict), done.text
        assert "nothing was evaluated" in done.out and done.out.endswith(f"{verdict}: run\n")
        assert status() == {"state": "done", "exit_code": code, "gate": {"verdict": verdict, "exit_code": code}}
    assert read_json(folder.gate_json)["baseline"] == str(plain)
    seen = harness("collect", folder.path, "--json")
    assert [(run["state"], run["exit_code"]) for run in json.loads(seen.out)] == [("done", 1)]

    # What cannot be judged is said; an earlier verdict does not stay, the result does.
    done = harness("evaluate", job, "-o", folder.path, "--set", "gate=[{accuracy/x: {at_least: 0.5}}]")
    assert done.code == 2 and "harness: error: gate: the rule on accuracy/x: " in done.err, done.text
    assert not folder.gate_json.exists() and status()["state"] == "done"
    assert (status()["gate"]["verdict"], status()["gate"]["exit_code"]) == (None, 2)
    assert folder.run_json.read_bytes() == record

    # A baseline may have a name, or lie beside the job.
    assert harness("baseline", "set", "before", plain, "--baselines", tmp_path / "kept").code == 0
    monkeypatch.setenv("HARNESS_BASELINES", str(tmp_path / "kept"))
    for name, path in (("before", Path("before")), ("plain", plain)):
        spec = Job.load(job, [rules("passes", baseline=name)])
        against = JobGate.of(spec, make_metrics(spec))
        assert against.baseline == path and against.described == f"1 rule, baseline {name}"
        assert settle(folder, against).code == 0 and read_json(folder.gate_json)["baseline"] == name

    # Nor does a verdict stay where the new one cannot be written.
    folder.gate_json.write_text("{}")
    spec = Job.load(job)
    monkeypatch.setattr("harness.run.job_gate.write_atomically", full)
    settled = settle(folder, JobGate.of(spec, make_metrics(spec)))
    assert settled.code == 1 and not folder.gate_json.exists()
    assert "warning: the result is written, but gate.json: No space left" in capsys.readouterr().err

    # Found wrong before any work; a check says so too.
    wrong = ["--set", "gate=[{acuracy: {at_least: 0.5}}]"]
    for command in (["evaluate", job, "-o", tmp_path / "other"], ["check", job], ["launch", "--dry-run", "--", "evaluate", job]):
        done = harness(*command, *wrong)
        assert done.code == 2 and "gate: the rule on acuracy: the job has no such metric" in done.err, done.text
    assert not (tmp_path / "other").exists()
    unpaired = yaml.safe_dump({"rules": [{"accuracy": {"may_drop": 0.1}}], "baseline": str(plain)}, default_flow_style=True)
    done = harness("check", job, "--set", f"gate={unpaired}")
    assert done.code == 2 and "gate: the rule on accuracy is against a baseline: neither the job nor " in done.err, done.text
    assert "gate: 1 rule\n" in harness("check", job).out

    # Begun anew the verdict goes with the run.
    done = harness("evaluate", job, "-o", folder.path, "--overwrite", "--set", rules("passes"))
    assert done.code == 0 and read_json(folder.gate_json)["verdict"] == "PASS", done.text


def test_a_start_without_a_gate_forgets_the_verdict_of_an_earlier_one(tmp_path):
    folder = RunFolder(tmp_path)
    folder.gate_json.write_text(json.dumps({"verdict": "PASS"}))
    assert settle(folder, None).code == 0 and not folder.gate_json.exists()
    assert read_json(folder.status_json) == {"state": "done", "exit_code": 0} and first_pass([tmp_path]) == FirstPass(
        awaited=tmp_path
    )


def full(*_):
    raise RunFolderError("gate.json: No space left on device")


@pytest.mark.slow
def test_python_answers_with_the_ruling_and_raises_nothing_for_a_gate_that_fails(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((8,), name="x"), keras.layers.Dense(5, activation="softmax", use_bias=False)])
    model.layers[0].set_weights([made.kernel()])
    found = made.examples()
    asked = (model, (found.x, found.label), ["accuracy", "f1"])
    failing = [{"accuracy": GATES["fails"]}]
    results = package.evaluate(*asked, gate=failing)
    assert results.gate.verdict == "FAIL" and results.gate.gated.judgements[0].value == results["accuracy"]
    assert package.evaluate(*asked).gate is None

    evaluator = package.Evaluator(*asked, gate=failing)
    first, again = (evaluator.evaluate(tmp_path / "run") for _ in range(2))
    assert first.gate == again.gate and first.gate.verdict == "FAIL" and first == results
    assert read_json(tmp_path / "run" / "gate.json")["verdict"] == "FAIL"
    assert read_json(tmp_path / "run" / "status.json")["gate"] == {"verdict": "FAIL", "exit_code": 1}

    # Without a folder too it is held against a baseline, of the same examples alone.
    sampled = {"bootstrap": {"replicates": 20}, "batch_size": 16}
    package.evaluate(*asked, **sampled, output=tmp_path / "old")
    against = {"rules": [{"accuracy": {"may_drop": 0.1}}], "baseline": str(tmp_path / "old")}
    assert package.evaluate(*asked, **sampled, gate=against).gate.verdict == "PASS"
    with pytest.raises(UsageError, match="bootstrap.seed is 0 and 1"):
        package.evaluate(*asked, bootstrap={"replicates": 20, "seed": 1}, gate=against)

    with pytest.raises(UsageError, match="gate: the rule on auc: the job has no such metric"):
        package.evaluate(*asked, gate=[{"auc": {"at_least": 0.5}}])
    with pytest.raises(UsageError, match="the rule on f_beta/x: .* has no such number"):
        package.evaluate(*asked, gate=[{"f_beta/x": {"at_least": 0.5, "interval": False}}], output=tmp_path / "kept")
    assert read_json(tmp_path / "kept" / "status.json")["state"] == "done"  # the result is there

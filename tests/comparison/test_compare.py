"""harness compare over real runs: what is paired, what is refused, and what is said of it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import harness
from harness.cli import cli
from harness.comparison import comparison
from harness.comparison.difference import Difference, paired
from harness.comparison.documents import lines_table
from harness.comparison.sides import Number
from harness.comparison.terminal import rests_on
from harness.errors import UsageError
from harness.metrics.direction import Better
from harness.results.tables import slice_name
from tests import made

BOOTSTRAP = {"replicates": 60, "seed": 5}
LABELLED = ["accuracy", "f1", "cross_entropy", {"recall": {"average": "per_class"}}, "ece", "confusion_matrix"]
GROUPS = np.array(["a", "b", "c"])[np.arange(made.EXAMPLES) % 3]


def model(noise: float, seed: int):
    """A softmax of the examples' own kernel, more or less spoilt."""
    import tensorflow as tf

    kernel = tf.constant(made.kernel() + np.random.default_rng(seed).normal(size=made.kernel().shape, scale=noise), tf.float32)
    return lambda x: tf.nn.softmax(x @ kernel)


def run(folder: Path, noise: float, seed: int, **options) -> Path:
    """Evaluate such a model into a run folder."""
    evaluated(noise, seed, output=folder, **options)
    return folder


def evaluated(noise: float, seed: int, **options) -> harness.Results:
    found = made.examples()
    arrays = {"x": found.x, "label": found.label, "group": GROUPS, "weight": found.weight}
    keep = options.pop("keep", slice(None))
    options = {"bootstrap": BOOTSTRAP, "slices": [["group"]], "metrics": LABELLED, **options}
    metrics = options.pop("metrics")
    data = {name: array[keep] for name, array in arrays.items()}
    return harness.evaluate(model(noise, seed), data, metrics, inputs={"x": "x"}, label="label", **options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("compared")
    others = {
        "seed": {"bootstrap": {"replicates": 60, "seed": 6}},
        "fewer": {"keep": slice(0, 150)},
        "alone": {"bootstrap": None},
        "weighted": {"metrics": [{"accuracy": {"weight": "weight"}}, {"f1": {"average": "micro"}}]},
        "unkept": {"bootstrap": {**BOOTSTRAP, "slice_replicates": False}},
    }
    made_runs = {"a": run(folder / "a", 0.0, 0), "b": run(folder / "b", 0.8, 11), "c": run(folder / "c", 0.3, 2)}
    return made_runs | {name: run(folder / name, 0.8, 11, **options) for name, options in others.items()}


def compare(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["compare", *map(str, arguments)], standalone_mode=False)
    if done.exception is not None:
        return 2, str(done.exception)
    return done.return_value, done.output


def document(*arguments: str | Path) -> dict:
    code, text = compare(*arguments, "--json")
    assert code == 0, text
    return json.loads(text)


def by_name(found: dict, side: int = 0) -> dict:
    return {(tuple(line["slice"].items()), line["metric"]): line for line in found["comparisons"][side]["lines"]}


def test_differences_are_those_of_the_replicates(runs):
    lines = by_name(document(runs["a"], runs["b"]))
    values = [json.loads((runs[name] / "metrics.json").read_text())["metrics"]["f_beta"]["value"] for name in "ab"]
    drawn = [np.load(runs[name] / "replicates.npz")["f_beta"] for name in "ab"]
    line = lines[(), "f_beta"]
    assert line["difference"] == values[1] - values[0] and [line["baseline_value"], line["value"]] == values
    differences = drawn[1] - drawn[0]
    assert line["standard_error"] == pytest.approx(differences.std(ddof=1), rel=1e-12)
    assert [line["low"], line["high"]] == pytest.approx(np.quantile(differences, [0.025, 0.975], method="weibull").tolist())
    assert line["better"] == "higher" and line["verdict"] in ("worse", "no difference shown")
    assert lines[(), "cross_entropy"]["verdict"] == "worse" and lines[(), "cross_entropy"]["difference"] > 0
    assert lines[(), "recall/3"]["value"] == pytest.approx(np.load(runs["b"] / "replicates.npz")["recall/3"].mean(), abs=0.1)
    assert "biased" in lines[(), "expected_calibration_error"]["reason"]


def test_numbers_have_a_label_beside_their_key(runs):
    found = document(runs["a"], runs["b"], runs["c"], "--metrics", "f1 macro,recall")
    lines = {line["metric"]: line["label"] for line in found["comparisons"][0]["lines"]}
    assert lines == {"f_beta": "f1 macro", **{f"recall/{at}": f"recall {at}" for at in range(5)}}
    assert {entry["metric"]: entry["label"] for entry in found["ranking"]} == lines
    assert harness.Results.load(runs["a"])["f1 macro"] == harness.Results.load(runs["a"])["f_beta"]


def test_slices_are_paired_within_their_own_replicates(runs):
    lines = by_name(document(runs["a"], runs["b"]))
    drawn = [np.load(runs[name] / "slice_replicates.npz")["cross_entropy"] for name in "ab"]
    names = [entry["slice"] for entry in json.loads((runs["a"] / "metrics.json").read_text())["slices"]]
    assert drawn[0].shape == (3, 60) and names == [{"group": "a"}, {"group": "b"}, {"group": "c"}]
    for at, name in enumerate(names):
        line = lines[tuple(name.items()), "cross_entropy"]
        assert line["standard_error"] == pytest.approx((drawn[1][at] - drawn[0][at]).std(ddof=1), rel=1e-12)
    assert (
        sum(line["p_holm"] is not None for line in lines.values()) == document(runs["a"], runs["b"])["comparisons"][0]["family"]
    )


def test_replicates_of_slices_are_a_choice_and_change_no_value(runs):
    assert not (runs["unkept"] / "slice_replicates.npz").exists()
    assert (runs["unkept"] / "metrics.json").read_bytes() == (runs["b"] / "metrics.json").read_bytes()
    lines = by_name(document(runs["a"], runs["unkept"]))
    assert lines[(("group", "a"),), "accuracy"]["reason"] == "no replicates were kept"
    assert lines[(), "accuracy"]["p"] is not None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("seed", "bootstrap.seed is 5 and 6"),
        ("fewer", "their data differ"),
        ("alone", "has no bootstrap"),
    ],
)
def test_what_cannot_be_paired_is_named_and_can_be_compared_otherwise(runs, other, words):
    code, text = compare(runs["a"], runs[other])
    assert code == 2 and words in text and "--unpaired" in text
    found = document(runs["a"], runs[other], "--unpaired")
    assert found["paired"] is False
    line = by_name(found)[(), "accuracy"]
    errors = [
        json.loads((runs[name] / "metrics.json").read_text())["metrics"]["accuracy"]["standard_error"] for name in ("a", other)
    ]
    assert line["standard_error"] == pytest.approx(np.hypot(*errors), rel=0.3)
    paired = by_name(document(runs["a"], runs["b"]))[(), "accuracy"]
    assert line["standard_error"] > paired["standard_error"]


def test_other_options_and_missing_metrics_are_left_out_by_name(runs):
    found = document(runs["b"], runs["weighted"])
    left_out = {entry["what"]: entry["reason"] for entry in found["comparisons"][0]["left_out"]}
    assert left_out["accuracy"] == "weight is None and weight"
    assert left_out["f_beta"] == "average is macro and micro"
    assert left_out["cross_entropy"] == f"{found['sides'][1]['name']} does not have it"
    assert found["comparisons"][0]["lines"] == []


def test_files_that_were_changed_are_not_paired(runs, tmp_path):
    found = made.examples()
    data = {"x": found.x, "label": (found.label + 1) % made.CLASSES, "group": GROUPS, "weight": found.weight}
    changed = tmp_path / "changed"
    harness.evaluate(
        model(0.8, 11), data, LABELLED, output=changed, inputs={"x": "x"}, label="label", bootstrap=BOOTSTRAP, slices=[["group"]]
    )
    code, text = compare(runs["a"], changed)
    assert code == 2 and ("content hashes" in text or "their data differ" in text)


def test_the_table_says_what_it_shows(runs):
    code, text = compare(runs["a"], runs["b"], "--metrics", "accuracy,nll")
    assert code == 0 and "b against a" in text and "worse" in text and "f1" not in text
    assert "p-values hold for all 8 together (Holm)" in text
    assert compare(runs["a"], runs["b"], "--metrics", "accuracy,cross entropy") == (code, text)
    code, text = compare(runs["a"], runs["b"], "--metrics", "acuracy")
    assert code == 2 and "did you mean 'accuracy'" in text


def test_a_difference_without_an_error_has_the_digits_of_its_values():
    def number(value: float, error: float | None) -> Number:
        return Number(value, None, 100, error)

    def cells(first: Number, second: Number) -> list[str]:
        line = comparison.Line((), "ece", "ece", first, second, Difference(second.above(first)), Better.LOWER)
        return lines_table([line], "a", "b").rows[0][1:5]

    assert cells(number(0.1, 0.012), number(0.288335, 0.034)) == ["0.100", "0.288", "+0.188", ""]
    assert cells(number(0.1, None), number(0.288335, 0.034)) == ["0.100", "0.288", "+0.188", ""]
    assert cells(number(0.1, None), number(0.288335, None)) == ["0.1", "0.288335", "+0.188335", ""]


def test_the_footnote_names_what_counts_replicates(runs):
    found = harness.compare(runs["a"], runs["b"]).comparisons[0]
    methods = ["replicates" if at in (0, 9) else "normal" for at in range(len(found.lines))]
    lines = [
        replace(line, difference=replace(line.difference, method=method))
        for line, method in zip(found.lines, methods, strict=True)
    ]
    slice_ = slice_name(dict(lines[9].slice))
    text = rests_on(replace(found, lines=lines))
    assert f"; those of {lines[0].label}, {lines[9].label}{slice_ and f' of {slice_}'} count replicates: for so many" in text


def test_of_three_the_best_is_marked_and_what_cannot_be_told_from_it(runs):
    found = document(runs["b"], runs["a"], runs["c"])
    ranking = {entry["metric"]: entry for entry in found["ranking"]}
    assert ranking["cross_entropy"]["best"] in ("a", "c") and "b" not in ranking["cross_entropy"]["alike"]
    assert ranking["expected_calibration_error"]["alike"] == [ranking["expected_calibration_error"]["best"]]
    code, text = compare(runs["b"], runs["a"], runs["c"], "--latex")
    assert code == 0 and text.count("\\textbf{") == len(ranking) and "cross entropy" in text
    code, text = compare(runs["b"], runs["a"], runs["c"], "--metrics", "nll")
    assert code == 0 and "cross entropy" in text[text.rindex("┃ metric") :]
    code, text = compare(runs["b"], runs["a"], runs["c"])
    assert code == 0 and "**" in text and "on average too good" in text


def test_the_best_is_looked_for_in_the_whole_alone(runs, monkeypatch):
    """What ranks the sides draws no difference of slices again: there may be thousands."""
    numbers = []
    monkeypatch.setattr(comparison, "paired", lambda *sides, **options: numbers.append(sides) or paired(*sides, **options))
    (compared,) = harness.compare(runs["a"], runs["b"]).comparisons
    whole = sum(line.slice == () for line in compared.lines)
    assert len(compared.lines) == 4 * whole
    assert len(numbers) <= len(compared.lines) + 2 * whole  # each side may be the best in some number


def test_one_run_needs_several_models(runs):
    code, text = compare(runs["a"])
    assert code == 2 and "expected two runs, or a run of several models" in text
    code, text = compare(runs["a"], runs["a"])
    assert code == 2 and "stands there twice" in text
    code, text = compare(runs["a"], runs["a"] / "journal")
    assert code == 2 and "no finished run" in text


def test_documents_are_the_same_bytes_and_need_no_tensorflow(runs, tmp_path):
    files = [tmp_path / f"compare.{ending}" for ending in ("json", "csv", "md", "tex")]
    arguments = [str(runs["a"]), str(runs["b"]), *(word for path in files for word in ("-o", str(path)))]
    assert compare(*arguments)[0] == 0
    code = (
        "import sys; from harness.cli import cli\n"
        "cli.main(['compare', *sys.argv[1:], '--json'], standalone_mode=False)\n"
        "print([name for name in ('tensorflow', 'mpi4py', 'horovod') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(runs["a"]), str(runs["b"])], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stderr.strip() == "[]", done.stderr
    assert done.stdout.encode() == files[0].read_bytes()
    assert files[1].read_text().startswith("side,slice,metric,") and "| metric |" in files[2].read_text()
    code, text = compare(*arguments[:2], "-o", str(tmp_path / "x.html"))
    assert code == 2 and ".json, .csv, .md, .tex" in text


def judge(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["gate", *map(str, arguments)], standalone_mode=False)
    return (2, str(done.exception)) if done.exception is not None else (done.return_value, done.output)


def test_a_gate_ends_with_its_verdict(runs, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "- f1 macro: {may_drop: 0.9}\n- nll: {at_most: 10}\n- accuracy: {by: group, may_drop: 0.9}\n- examples_per_s: {at_least: 0.001}\n"
    )
    code, text = judge(runs["b"], rules, "--baseline", runs["a"], "-o", tmp_path / "gate.xml", "-o", tmp_path / "gate.json")
    assert code == 0 and text.splitlines()[-1].startswith("PASS: ")
    found = json.loads((tmp_path / "gate.json").read_text())
    named = [[rule[key] for key in ("rule", "metric", "label")] for rule in found["rules"]]
    assert found["verdict"] == "PASS" and named[1:] == [
        ["nll at most 10", "cross_entropy", "cross entropy"],
        ["accuracy may drop 0.9 in slices by group", "accuracy", "accuracy"],
        ["examples_per_s at least 0.001", None, None],
    ]
    assert "cross entropy at most 10" in text and "f1 macro may drop 0.9" in text
    assert (tmp_path / "gate.xml").read_text().startswith('<testsuites name="harness gate" tests="6" failures="0" errors="0">')
    rules.write_text("- cross_entropy: {must_gain: 0}\n")
    assert judge(runs["b"], rules, "--baseline", runs["a"])[0] == 1
    rules.write_text("- accuracy: {at_least: 0.68}\n")
    codes = [judge(runs["a"], rules, *more)[0] for more in ((), ("--inconclusive", "pass"), ("--inconclusive", "fail"))]
    assert codes == [5, 0, 1]
    assert judge(runs["a"], rules, "--github")[1].startswith("::warning title=INCONCLUSIVE")
    rules.write_text("- accuracy: {may_drop: 0.5}\n")
    code, text = judge(runs["seed"], rules, "--baseline", runs["a"])
    assert code == 2 and "bootstrap.seed is 5 and 6" in text
    code, text = judge(runs["a"] / "journal", rules)
    assert code == 2 and "no finished run" in text


def test_python_has_both(runs):
    compared = harness.compare(runs["a"], runs["b"], metrics=["accuracy"])
    (line, *_) = compared.comparisons[0].lines
    assert line.number == "accuracy" and compared.text("csv").startswith("side,slice,metric,")
    ruling = harness.gate(runs["b"], [{"accuracy": {"may_drop": 0.9}}], runs["a"])
    assert (ruling.verdict, ruling.exit_code(), len(ruling.gated.judgements)) == ("PASS", 0, 1)


def test_answers_are_shown_as_what_they_print(runs, capsys):
    """A notebook shows the last line of a cell: a table, not what the dataclasses hold."""
    compared = harness.compare(*(runs[name] for name in "abc"))
    ruling = harness.gate(runs["a"], [{"accuracy": {"at_least": 0.1}}])
    for answer in (compared, ruling):
        answer.show()
        assert repr(answer) == capsys.readouterr().out.rstrip("\n")
        shown = answer._repr_html_()
        assert "<th" in shown and "<td" in shown and len(shown) < 30_000
    assert "PASS" in repr(ruling) and "b against a" in repr(compared)
    comparison = compared.comparisons[0]
    assert len(repr(comparison.lines[0])) < 1000 and len(repr(comparison)) < 2000


def test_results_are_compared_like_their_folders(runs):
    """Those that know their folder, and those of a run without one: they carry replicates and question."""
    loaded, alone = harness.Results.load(runs["a"]), evaluated(0.8, 11, output=None)
    found, expected = harness.compare(loaded, alone), harness.compare(runs["a"], runs["b"])
    assert [side.name for side in found.sides] == ["a", "results 2"]
    documents = [json.loads(compared.text("json")) for compared in (found, expected)]
    assert documents[0]["comparisons"][0]["lines"] == documents[1]["comparisons"][0]["lines"]
    ruling = harness.gate(alone, [{"f1 macro": {"may_drop": 0.9}}], loaded)
    assert (ruling.verdict, ruling.run, ruling.baseline) == ("PASS", "results", str(runs["a"]))
    with pytest.raises(UsageError, match="run.json says nothing of the speed"):
        harness.gate(alone, [{"examples_per_s": {"at_least": 1}}])
    with pytest.raises(UsageError, match="neither replicates nor their question"):
        harness.compare(loaded, pickle.loads(pickle.dumps(alone)))

"""Accuracies of two models of one run, compared by the counts that the run has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

import harness
from harness.cli import cli
from harness.errors import UsageError
from harness.folder.run_folder import RunFolder
from harness.results.terminal import show_examples

EXAMPLES = 2000


def columns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(6)
    label = rng.integers(0, 3, EXAMPLES)
    first = np.where(rng.random(EXAMPLES) < 0.7, label, (label + 1) % 3)
    second = np.where(rng.random(EXAMPLES) < 0.2, label, first)
    half = EXAMPLES // 2
    second[:half] = first[:half]  # a slice in which the models differ on three examples
    second[:3] = (first[:3] + 1) % 3
    return {"first": np.eye(3)[first], "second": np.eye(3)[second], "label": label, "group": np.arange(EXAMPLES) // half}


def run(folder: Path, metrics: list[Any], **options: Any) -> Path:
    models = {"old": lambda features: features["first"], "new": lambda features: features["second"]}
    keys = {"label": "label", "inputs": ["first", "second"], "slices": ["group"], **options}
    harness.evaluate(models, columns(), metrics, output=folder, **keys)
    return folder


def compare(*arguments: str | Path) -> str:
    done = CliRunner().invoke(cli, ["compare", *map(str, arguments)], standalone_mode=False)
    assert done.exception is None, done.exception
    return done.output


def lines(folder: Path) -> dict[tuple[Any, str], dict[str, Any]]:
    (comparison,) = json.loads(compare(folder, "--json"))["comparisons"]
    assert not comparison["left_out"]  # the baseline has no mcnemar, which goes without saying
    return {(line["slice"].get("group"), line["metric"]): line for line in comparison["lines"]}


def test_p_values_are_exact_in_the_whole_and_in_slices_without_a_bootstrap(tmp_path, capsys):
    folder = run(tmp_path / "run", ["accuracy", "mcnemar", {"cross_entropy": {"epsilon": 1e-7}}], examples={"worst": 2})
    data = columns()
    right = [data[name].argmax(axis=1) == data["label"] for name in ("first", "second")]
    found = lines(folder)
    for group, chosen in ((None, slice(None)), (0, data["group"] == 0), (1, data["group"] == 1)):
        first_only, second_only = ((right[a] & ~right[b])[chosen].sum() for a, b in ((0, 1), (1, 0)))
        line = found[group, "accuracy"]
        assert line["p"] == pytest.approx(binomtest(int(first_only), int(first_only + second_only)).pvalue, rel=1e-12)
        assert line["method"] == "discordant counts" and line["low"] < line["difference"] < line["high"]
        if group != 0:
            gains = (right[1].astype(int) - right[0])[chosen]
            assert line["standard_error"] == pytest.approx(gains.std() / np.sqrt(len(gains)), rel=1e-12)
            reach = 1.959963984540054 * line["standard_error"]
            assert [line["low"], line["high"]] == pytest.approx([gains.mean() - reach, gains.mean() + reach], rel=1e-9)
    assert found[None, "cross_entropy"]["p"] is None
    text = " ".join(compare(folder).split())
    only = [int((right[a] & ~right[b]).sum()) for a, b in ((0, 1), (1, 0))]
    assert f"note: accuracy: {only[0]} examples are right in old alone, {only[1]} in new alone (McNemar)" in text
    assert "p-values hold for all 3 together" in text
    show_examples(RunFolder(folder))
    assert "examples of old, by old/cross_entropy" in capsys.readouterr().out
    several = f"{folder} has several models: old, new; say which with --model"
    with pytest.raises(UsageError) as refused:
        harness.gate(folder, [{"accuracy": {"at_least": 0.1}}])
    assert str(refused.value) == several
    with pytest.raises(UsageError) as refused:
        harness.compare(folder, tmp_path)
    assert str(refused.value) == f"{several}, or compare them with each other alone"


def test_the_interval_is_that_of_the_replicates_where_many_examples_differ(tmp_path):
    """As `harness show` has it; the p-value stays that of the counts."""
    drawn = lines(run(tmp_path / "drawn", ["accuracy", "mcnemar"], bootstrap={"replicates": 100}))
    plain = lines(run(tmp_path / "plain", ["accuracy", "mcnemar"]))
    document = json.loads((tmp_path / "drawn" / "metrics.json").read_text())
    shown = document["differences"]["new - old"]["accuracy"]["interval"]
    assert [drawn[None, "accuracy"][end] for end in ("low", "high")] == [shown["low"], shown["high"]]
    assert drawn[None, "accuracy"]["low"] != plain[None, "accuracy"]["low"]
    for end in ("p", "method", "difference"):
        assert drawn[None, "accuracy"][end] == plain[None, "accuracy"][end]
    assert drawn[0, "accuracy"] == {**plain[0, "accuracy"], "p_holm": drawn[0, "accuracy"]["p_holm"]}  # three examples differ


def test_counts_of_other_questions_are_not_taken(tmp_path):
    ignoring = {"mcnemar": {"ignore_label": 2}}
    assert lines(run(tmp_path / "ignoring", ["accuracy", ignoring]))[None, "accuracy"]["method"] is None
    drawn = {"bootstrap": {"replicates": 100, "cluster": "group"}, "slices": None}
    clustered = lines(run(tmp_path / "clustered", ["accuracy", "mcnemar"], **drawn))
    assert clustered[None, "accuracy"]["method"] != "discordant counts"

"""A run's number as the hub takes it for a benchmark: YAML that its format asks for, from files alone, nothing of it is code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import HarnessError, RunFolderError, UsageError
from harness.report.eval_results import Benchmark, eval_results
from harness.report.subjects import read
from tests.report.folders import CERTIFICATE, HOSTILE, number, write

COMMIT = "5503434ddd753f426f4b38109466949a1217c2bb"
STARTED = "2026-01-15T10:30:00+00:00"
BENCHMARK = Benchmark("cais/hle", "default")


def report(*words: object) -> None:
    """Run the command in this process; what it raises is raised."""
    done = CliRunner().invoke(cli, ["report", *map(str, words)], standalone_mode=False)
    if done.exception is not None:
        raise done.exception


def test_an_entry_is_what_the_hub_asks_for(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"accuracy": number(0.75), "log_loss": number(0.5)})
    (run / "run.json").write_text(json.dumps({"attempts": [{"started": "2025-12-31T00:00:00+00:00"}, {"started": STARTED}]}))
    source = "https://example.org/runs/7"
    asked = ["--benchmark", f"cais/hle@{COMMIT}", "--task", "default", "--metric", "accuracy", "--source", source]
    report(run, "--eval-results", *asked, "-o", tmp_path / ".eval_results" / "hle.yaml")
    text = (tmp_path / ".eval_results" / "hle.yaml").read_text()
    assert yaml.safe_load(text) == [
        {
            "dataset": {"id": "cais/hle", "task_id": "default", "revision": COMMIT},
            "value": 0.75,
            "date": STARTED,
            "source": {"url": source},
            "notes": "accuracy; 95 % interval 0.730 to 0.770; 1,000 examples, each counted once",
        }
    ]
    assert text == eval_results(read([run]).subjects[0], Benchmark.parse(f"cais/hle@{COMMIT}", "default", source), "accuracy")


def test_the_only_number_needs_no_name_and_what_is_unknown_is_left_out(tmp_path: Path) -> None:
    table = ({"value": {"columns": ["a"], "rows": [[1]]}, "examples": 1000}, {})
    run = write(tmp_path / "run", {"accuracy": number(0.75), "matrix": table}, bootstrap=None)
    assert yaml.safe_load(eval_results(read([run]).subjects[0], BENCHMARK)) == [
        {
            "dataset": {"id": "cais/hle", "task_id": "default"},
            "value": 0.75,
            "notes": "accuracy; 1,000 examples, each counted once",
        }
    ]


def test_a_number_of_a_class_or_of_a_model_has_a_name(tmp_path: Path) -> None:
    recall = ({"value": {"cat": 0.25, "dog": 0.5}, "examples": 1000}, {})
    run = write(tmp_path / "run", {"recall": recall, "new/accuracy": number(1)})
    subject = read([run]).subjects[0]
    values = [yaml.safe_load(eval_results(subject, BENCHMARK, name))[0]["value"] for name in ("recall/dog", "recall cat")]
    assert values == [0.5, 0.25] and yaml.safe_load(eval_results(subject, BENCHMARK, "new/accuracy"))[0]["value"] == 1


def test_hostile_names_are_text(tmp_path: Path) -> None:
    hostile = f"accuracy\n- dataset: {{id: a/b}}\n  value: !!python/object/apply:os.system [ls] {HOSTILE}" + "x" * 10**6
    run = write(tmp_path / "run", {hostile: number(0.5)})
    (run / "run.json").write_text(json.dumps({"attempts": [{"started": "x: [\n- &a"}]}))
    text = eval_results(read([run]).subjects[0], BENCHMARK)
    (entry,) = yaml.safe_load(text)
    assert set(entry) == {"dataset", "value", "date", "notes"} and (entry["value"], entry["date"]) == (0.5, "x: [\n- &a")
    assert len(text) < 2000 and "\x1b" not in text and "\n" not in entry["notes"]


GOOD = ("--benchmark", "cais/hle", "--task", "default", "--metric", "accuracy")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--eval-results"], "expected --benchmark OWNER/NAME too"),
        (["--eval-results", "--benchmark", "cais/hle"], "expected --task ID too"),
        (["--eval-results", "--benchmark", "hle", "--task", "t"], "--benchmark hle: expected the name of a dataset on the hub"),
        (["--eval-results", "--benchmark", "../hle", "--task", "t"], "expected the name of a dataset"),
        (["--eval-results", "--benchmark", "a/b--c", "--task", "t"], "expected the name of a dataset"),
        (["--eval-results", "--benchmark", f"a/{'b' * 100}", "--task", "t"], "expected the name of a dataset"),
        (["--eval-results", "--benchmark", "a/b@main", "--task", "t"], "expected the 40 hexadecimal digits of a commit"),
        (["--eval-results", "--benchmark", "a/b", "--task", " "], "expected the id of a task"),
        (["--eval-results", "--benchmark", "a/b", "--task", "a\nb"], "expected the id of a task"),
        (["--eval-results", *GOOD, "--source", "ftp://a/b"], "expected a URL that begins with https://"),
        (["--eval-results", *GOOD, "--source", "https://a/b?token=x"], "the URL holds a signature or token"),
        (["--eval-results", *GOOD[:4]], "expected --metric NAME: an entry has one value, and the run 2 numbers: accuracy, log_loss"),
        (["--eval-results", *GOOD[:4], "--metric", "acuracy"], "the run has no such number: did you mean 'accuracy'?"),
        (["--eval-results", *GOOD[:4], "--metric", "log_loss"], "log_loss: it has no value to publish: class: 0"),
        (["--eval-results", "--card", *GOOD], "expected one of them"),
        (["--eval-results", "--model", "new", *GOOD], "--metric MODEL/NAME"),
        (["--task", "default"], "--task: it goes with --eval-results"),
    ],
)  # fmt: skip
def test_what_cannot_be_published_is_refused_and_nothing_is_written(tmp_path: Path, words: list[str], message: str) -> None:
    run = write(tmp_path / "run", {"accuracy": number(0.75), "log_loss": number(None, reason="class: 0")})
    with pytest.raises(UsageError) as error:
        report(run, *words, "-o", tmp_path / "file.yaml")
    assert message in str(error.value) and not (tmp_path / "file.yaml").exists()


def test_a_run_without_a_result_has_none(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text(json.dumps({"state": "failed", "exit_code": 1}))
    with pytest.raises(RunFolderError, match="no finished run"):
        report(tmp_path, "--eval-results", *GOOD, "-o", tmp_path / "file.yaml")
    with pytest.raises(HarnessError, match="expected one run, found 2"):
        report(tmp_path, tmp_path, "--eval-results", *GOOD)
    assert CERTIFICATE["examples"] == 1000 and not (tmp_path / "file.yaml").exists()

"""The model card of a run: its front matter is YAML that the hub reads, its tables are those of the run, nothing of it is code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from harness.cli import cli
from harness.errors import UsageError
from harness.report.card import card
from harness.report.subjects import read
from tests.report.folders import HOSTILE, number, with_slices, write


def front(text: str) -> dict:
    _, matter, _ = text.split("---\n", 2)
    return yaml.safe_load(matter)


def test_the_front_matter_is_a_model_index(tmp_path: Path) -> None:
    metrics = {
        "accuracy": number(0.75),
        "log_loss": number(None, reason="class: 0"),
        "recall": ({"value": {"a": 1.0}, "examples": 2, "support": {"a": 2}}, {}),
    }
    run = write(tmp_path / "run", metrics)
    (run / "resolved_job.json").write_text(
        json.dumps({"model": {"path": "models/flowers.keras"}, "data": {"files": ["s3://KEY@b/val.csv"]}})
    )
    text = card(read([run]).subjects[0])
    assert front(text) == {
        "model-index": [
            {
                "name": "flowers",
                "results": [
                    {
                        "task": {"type": "classification"},
                        "dataset": {"name": "val.csv", "type": "val.csv", "revision": "d" * 64},
                        "metrics": [{"type": "accuracy", "value": 0.75, "name": "accuracy"}],
                    }
                ],
            }
        ]
    }
    for part in (
        "## Intended use",
        "*To be filled in.*",
        "| accuracy | 0.750 | 0.730 | 0.770 |",
        "log\\_loss has no value: class: 0",
    ):
        assert part in text
    assert "KEY" not in text and f"Digest of the model's files: `{'f' * 64}`" in text
    assert text == card(read([run]).subjects[0])


def test_the_largest_slices_stand_on_it_and_models_have_an_entry_each(tmp_path: Path) -> None:
    text = card(read([with_slices(tmp_path / "run", 100)]).subjects[0])
    assert text.count("| city=city ") == 40 and "The 40 largest of 100 slices." in text and "Evaluated by city." in text
    run = write(tmp_path / "two", {"old/accuracy": number(0.5), "new/accuracy": number(0.75)})
    document = json.loads((run / "metrics.json").read_text())
    for key, entry in document["definitions"].items():
        entry.update(label=key, model=key.partition("/")[0], metric="accuracy")
    (run / "metrics.json").write_text(json.dumps(document))
    index = front(card(read([run]).subjects[0]))["model-index"]
    found = {entry["name"]: entry["results"][0]["metrics"] for entry in index}
    assert found == {
        name: [{"type": "accuracy", "value": value, "name": "accuracy"}] for name, value in (("old", 0.5), ("new", 0.75))
    }


def test_a_hostile_job_is_text_on_it(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {HOSTILE: number(0.5), "---\n# x": number(0.5)})
    (run / "resolved_job.json").write_text(json.dumps({"model": f"\n---\n{HOSTILE}" + "x" * 10**6, "data": {"files": [HOSTILE]}}))
    text = card(read([run]).subjects[0])
    assert "<script" not in text.split("---\n", 2)[2] and len(text) < 10_000 and "\x1b" not in text
    assert len(front(text)["model-index"]) == 1


def test_the_command_writes_it(tmp_path: Path) -> None:
    run = write(tmp_path / "run", {"accuracy": number(0.75)})
    done = CliRunner().invoke(cli, ["report", "--card", str(run), "-o", str(tmp_path / "card.md")], standalone_mode=False)
    assert done.exception is None and (tmp_path / "card.md").read_text().startswith("---\nmodel-index:\n")
    done = CliRunner().invoke(cli, ["report", "--card", str(run), str(run)], standalone_mode=False)
    with pytest.raises(UsageError, match="expected one run"):
        raise done.exception or AssertionError

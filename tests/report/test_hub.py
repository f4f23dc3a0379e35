"""What is written for the Hugging Face hub, read back by the hub's own client in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.report.card import card
from harness.report.eval_results import Benchmark, eval_results
from harness.report.subjects import read
from tests.conftest import ROOT
from tests.report.folders import HOSTILE, number, write
from tests.test_packaging import PLAIN

COMMIT = "5503434ddd753f426f4b38109466949a1217c2bb"
READ = """
import json, sys, yaml
from huggingface_hub import ModelCard, eval_result_entries_to_yaml, parse_eval_result_entries

card, results = sys.argv[1:]
data = yaml.safe_load(open(results, encoding="utf-8"))
entries = parse_eval_result_entries(data)
assert eval_result_entries_to_yaml(entries) == data
metadata = ModelCard.load(card).data
print(json.dumps({
    "model": metadata.model_name,
    "card": [[r.task_type, r.dataset_name, r.metric_type, r.metric_name, r.metric_value] for r in metadata.eval_results],
    "results": [[e.dataset_id, e.task_id, e.dataset_revision, e.value, e.date, e.source_url, e.notes] for e in entries],
}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of an environment that has the hub's client in the pinned version, and nothing of ours."""
    folder = tmp_path_factory.mktemp("hub")
    (pin,) = [line for line in (ROOT / "versions.txt").read_text().splitlines() if line.startswith("huggingface-hub==")]
    path = folder / "venv" / "bin" / "python"
    for words in ([sys.executable, "-m", "venv", "venv"], [path, "-m", "pip", "install", "--quiet", pin]):
        done = subprocess.run(words, cwd=folder, env=PLAIN, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return path


@pytest.mark.timeout(1200)
def test_the_hubs_client_reads_card_and_evaluation_result(python: Path, tmp_path: Path) -> None:
    run = write(tmp_path / "run", {HOSTILE: number(0.25), "accuracy": number(0.1 + 0.2)})
    (run / "run.json").write_text(json.dumps({"attempts": [{"started": "2026-01-15T10:30:00+00:00"}]}))
    (run / "resolved_job.json").write_text(json.dumps({"model": f"models/{HOSTILE}.keras", "data": {"files": ["yes", HOSTILE]}}))
    subject = read([run]).subjects[0]
    (tmp_path / "card.md").write_text(card(subject))
    benchmark = Benchmark("cais/hle", "null", COMMIT, "https://example.org/a?b=c#d")  # a task that YAML would take for none
    (tmp_path / "hle.yaml").write_text(eval_results(subject, benchmark, HOSTILE))
    done = subprocess.run(
        [python, "-c", READ, tmp_path / "card.md", tmp_path / "hle.yaml"],
        cwd=tmp_path, env={**PLAIN, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    # Both are numbers of the run as they are, to the last bit; names are those of the job, without what a terminal obeys.
    assert [line[4] for line in found["card"]] == [0.25, 0.1 + 0.2] and {line[0] for line in found["card"]} == {"classification"}
    assert "</script><script>alert(1)" in found["card"][0][3] and "\x1b" not in json.dumps(found) and found["model"]
    ((*entry, notes),) = found["results"]
    assert entry == ["cais/hle", "null", COMMIT, 0.25, "2026-01-15T10:30:00+00:00", "https://example.org/a?b=c#d"]
    assert notes.endswith("; 95 % interval 0.230 to 0.270; 1,000 examples, each counted once")

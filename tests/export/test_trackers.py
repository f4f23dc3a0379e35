"""MLflow and Weights & Biases for real, in an environment of their own: read back to the bits.

MLflow through its client; wandb has no reader of its files in Python, so its messages are taken out of them here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.export.exported_run import read_run
from harness.export.numbers import short_name
from tests.export.runs import checkpoint, hostile

ROOT = Path(__file__).parent.parent.parent
# What reading finished runs needs, and the trackers: TensorFlow is not among them.
PACKAGES = (
    "numpy", "pandas", "pydantic", "PyYAML", "click", "rich", "google-crc32c", "psutil", "pyarrow", "mlflow-skinny", "SQLAlchemy", "alembic",
    "wandb",
)  # fmt: skip
READ_MLFLOW = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
experiment = client.get_experiment_by_name("harness")
found = []
for run in client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]):
    info = run.info
    found.append({
        "name": info.run_name, "status": info.status, "tags": run.data.tags, "params": run.data.params, "created": info.run_id,
        "metrics": {key: [[m.step, m.timestamp, m.value] for m in client.get_metric_history(info.run_id, key)] for key in run.data.metrics},
        "artifacts": [entry.path for entry in client.list_artifacts(info.run_id)],
    })
print(json.dumps(found))
"""
READ_WANDB = """
import json, sys
from wandb.proto.wandb_internal_pb2 import Record


def records(data, block=32768):
    # LevelDB's log format behind a head of 7 bytes: blocks of 32 KB; of each record CRC, length and type: whole, first, middle, last.
    at, parts = 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:
            at += block - at % block
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        parts += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield parts
            parts = b""


content = open(sys.argv[1], "rb").read()
assert content[:4] == b":W&B"
found = {"history": [], "config": {}, "files": [], "summary": {}, "exits": 0}
for data in records(content):
    record = Record.FromString(data)
    kind = record.WhichOneof("record_type")
    if kind == "run":
        found |= {"id": record.run.run_id, "project": record.run.project, "name": record.run.display_name, "group": record.run.run_group}
        found["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
    elif kind == "history":
        found["history"].append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item})
    elif kind == "summary":
        found["summary"] |= {item.key: json.loads(item.value_json) for item in record.summary.update if item.key}
    elif kind == "files":
        found["files"] += [entry.path for entry in record.files.files]
    elif kind == "exit":
        found["exits"] += 1
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python with the trackers' clients; EXPORT_PYTHON names one that is there already."""
    if ready := os.environ.get("EXPORT_PYTHON"):
        return Path(ready)
    folder = tmp_path_factory.mktemp("trackers")
    pins = {line.partition("==")[0]: line for line in (ROOT / "versions.txt").read_text().splitlines() if "==" in line}
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *(pins[name] for name in PACKAGES)], check=True)
    return python


@pytest.fixture
def call(python: Path, tmp_path: Path) -> Callable[..., str]:
    """Run that Python, with the harness of this checkout and no network that is asked for."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'launch'}"}
    env |= {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}

    def call(*words: object, code: int = 0) -> str:
        done = subprocess.run([python, *map(str, words)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-3000:]
        return done.stdout if words[0] == "-c" else done.stderr

    return call


def test_mlflow_holds_each_number_once(call: Callable[..., str], tmp_path: Path) -> None:
    runs = [hostile(tmp_path / "größe </script>", 300), checkpoint(tmp_path, 1000, 1 / 3), checkpoint(tmp_path, 30, 1 / 7)]
    words = ["-m", "harness", "export", *runs, "--to", "mlflow=sqlite:///store/runs.db"]
    assert call(*words) == "mlflow: 3 runs added: sqlite:///store/runs.db\n"
    first = json.loads(call("-c", READ_MLFLOW, "sqlite:///store/runs.db"))
    assert call(*words) == "mlflow: 0 runs added, 3 there already: sqlite:///store/runs.db\n"
    again = json.loads(call("-c", READ_MLFLOW, "sqlite:///store/runs.db"))
    assert sorted(map(str, first)) == sorted(map(str, again)) and len(first) == 3
    for folder in runs:
        run = read_run(folder)
        (logged,) = (entry for entry in first if entry["tags"]["harness.run_id"] == run.id)
        assert logged["name"] == folder.name and logged["status"] == "FINISHED"
        expected = {short_name(name, 250): value for number in run.numbers for name, value in number.quantities}
        at = [run.step or 0, int(run.started_s * 1000)]
        assert logged["metrics"] == {name: [[*at, value]] for name, value in expected.items()}
        assert logged["tags"]["harness.data_digest"] == "d" * 64 and logged["tags"]["harness.job_digest"] == "e" * 64
        assert {"metrics.json", "metrics.csv", "run.json", "resolved_job.json"} <= set(logged["artifacts"])
        assert len(logged["params"]) == len(run.params)
    assert next(entry for entry in first if "null/r2" in entry["tags"])["tags"]["null/r2"] == "0/0"
    assert (
        json.loads(next((tmp_path / "store" / "mlartifacts").rglob("metrics.json")).read_text())["certificate"]["examples"]
        == 1000
    )


def test_mlflow_goes_on_with_a_run_that_was_left_halfway(call: Callable[..., str], tmp_path: Path) -> None:
    run = hostile(tmp_path / "run", 100)
    words = ["-m", "harness", "export", run, "--to", "mlflow=sqlite:///runs.db"]
    dies = (
        "import sys, mlflow\n"
        "def die(*words): raise OSError('gone')\n"
        "mlflow.MlflowClient.log_artifact = die\n"
        "from harness.cli import main; main(sys.argv[1:])"
    )
    call("-c", dies, *words[2:], code=1)
    (half,) = json.loads(call("-c", READ_MLFLOW, "sqlite:///runs.db"))
    assert half["status"] == "RUNNING" and not half["artifacts"]
    assert call(*words) == "mlflow: 1 run added: sqlite:///runs.db\n"
    (whole,) = json.loads(call("-c", READ_MLFLOW, "sqlite:///runs.db"))
    assert whole["status"] == "FINISHED" and whole["created"] == half["created"] and whole["metrics"] == half["metrics"]


def test_a_server_that_is_not_there_is_said(call: Callable[..., str], tmp_path: Path) -> None:
    run = checkpoint(tmp_path, 30, 0.5)
    said = call("-m", "harness", "export", run, "--to", "mlflow=http://127.0.0.1:9", "--to", "csv=a.csv", code=1)
    assert "csv: 1 run added: a.csv" in said and "mlflow: export to http://127.0.0.1:9 failed" in said and "Traceback" not in said


def test_wandb_holds_each_number_once(call: Callable[..., str], tmp_path: Path) -> None:
    runs = [hostile(tmp_path / "größe </script>", 300), checkpoint(tmp_path, 1000, 1 / 3), checkpoint(tmp_path, 30, 1 / 7)]
    words = ["-m", "harness", "export", *runs, "--to", "wandb=tracked"]
    assert call(*words).startswith("wandb: 3 runs added: ")
    files = sorted(path for path in (tmp_path / "tracked").rglob("*") if path.is_file())
    assert call(*words).startswith("wandb: 0 runs added, 3 there already: ")
    assert sorted(path for path in (tmp_path / "tracked").rglob("*") if path.is_file()) == files
    folders = sorted((tmp_path / "tracked" / "wandb").iterdir())
    assert [path.name[:12] for path in folders] == ["offline-run-"] * 3
    for folder in runs:
        run = read_run(folder)
        (log,) = (tmp_path / "tracked" / "wandb").glob(f"*-{run.id}/*.wandb")
        logged = json.loads(call("-c", READ_WANDB, log))
        assert (
            logged["id"] == run.id and logged["project"] == "harness" and logged["name"] == folder.name and logged["exits"] == 1
        )
        (history,) = logged["history"]
        assert history["_step"] == (run.step or 0)
        expected = {name: value for number in run.numbers for name, value in number.quantities}
        assert {name: value for name, value in history.items() if not name.startswith("_")} == expected
        assert logged["config"]["data_digest"] == "d" * 64 and logged["group"] == run.series
        assert {"metrics.json", "metrics.csv", "run.json", "resolved_job.json"} <= set(logged["files"])
        assert (log.parent / "files" / "metrics.json").read_bytes() == (folder / "metrics.json").read_bytes()
    assert (
        "null"
        in json.loads(call("-c", READ_WANDB, next((tmp_path / "tracked" / "wandb").glob(f"*-{read_run(runs[0]).id}/*.wandb"))))[
            "summary"
        ]
    )

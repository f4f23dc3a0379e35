"""The first hour: from models and files of which nothing is said to jobs that pass `harness check`, and to numbers."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.job.job import Job
from harness.job.yaml_text import parse
from tests.conftest import ROOT, command, start

EXAMPLE = ROOT / "examples/first_hour"

# One process for all that loads TensorFlow: writes the example's models and data, and prints {command: [job, code, output]}.
DRIVER = """
import contextlib, io, json, os, shlex, shutil, sys
from pathlib import Path
example, checked, further, short = sys.argv[1], *map(json.loads, sys.argv[2:])
sys.path.insert(0, example)
import first_hour
from harness.ranks.comm import World
from harness.step import tensorflow as tf_setup
alone = World(0, 1, 0, 1)
tf_setup.set_up(0, tf_setup.threads_per_rank(alone), 0)  # as each command does, before anything is computed
first_hour.write(Path("."))
shutil.copy("classes-0.tfrecord", "records")
lines = Path("classes.csv").read_text().splitlines(keepends=True)
cells = lines[3].split(",")
head = lines[0].strip().split(",")
spoilt = [",".join([*head, "weight"])] + [line.strip() + ",1.5" for line in lines[1:]]
cells[head.index("x1")] = "?"
spoilt[3] = ",".join(cells).strip() + ",1.5"
Path("spoilt.csv").write_text("\\n".join(spoilt) + "\\n")  # x1 is text then, and the weight would be the sixth number
os.makedirs("shards")
shutil.copytree("photos", "torn")
torn = sorted(Path("torn").rglob("*.*"))[0]
torn.write_bytes(torn.read_bytes()[:40])
os.mkfifo("pipe.csv")
for part in range(2):
    shutil.copy(f"classes-{part}.tfrecord", "shards")
from harness.errors import HarnessError
from harness.job.job import Job
from harness.names.status_line import StatusLine
from harness.prepare.draft import Wishes
from harness.run import drafting
from harness.run.check import check
results = {}
def record(key, work):
    path = Path("jobs/job.yaml")
    path.unlink(missing_ok=True)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            code, error = work(path), ""
        except HarnessError as exc:
            code, error = exc.exit_code, str(exc)
    results[key] = [path.read_text() if path.exists() else "", code, out.getvalue() + error]
for command in [*first_hour.CASES.values(), *further]:
    words = shlex.split(command)[1:]
    options = dict(zip(words[2::2], words[3::2]))
    def work(path):
        wishes = Wishes.of(options.get("--label"), options.get("--metrics"), options.get("--model-output"))
        print(drafting.init(words[0], words[1:2], wishes, path, alone, StatusLine()))
        return check(Job.load(path)) if command in checked else 0
    record(command, work)
for name, raw in short.items():
    record(name, lambda path: check(Job.from_dict(raw)))
print(json.dumps(results))
"""
# Of each command of the example, label and metrics of the job.
JOBS = {
    "evaluate classes.keras classes.csv": ("label", ["accuracy", "f_beta", "cross_entropy"]),
    "evaluate classes.keras species.csv": ("species", ["accuracy", "f_beta", "cross_entropy"]),
    "evaluate logits.keras classes.parquet": ("label", ["accuracy", "f_beta", "cross_entropy"]),
    "evaluate exported classes-*.tfrecord": ("label", ["accuracy", "f_beta", "cross_entropy"]),
    "evaluate classes.keras one_hot.npz": ("label", ["accuracy", "f_beta", "cross_entropy"]),
    "evaluate clicks.keras clicks.npz": ("clicked", ["accuracy", "f_beta", "roc_auc", "average_precision", "log_loss"]),
    "evaluate amount.keras amounts.npz": ("target", ["mean_absolute_error", "root_mean_squared_error", "r2"]),
    "evaluate tags.keras tags.npz": ("tags", ["multilabel_f_beta", "exact_match", "hamming_loss"]),
    "evaluate amount.keras ranking.jsonl": ("label", ["ndcg", "mean_reciprocal_rank"]),
    "evaluate photos.keras photos": ("label", ["accuracy", "f_beta", "cross_entropy"]),
    "evaluate classes.keras classes.csv --label label --metrics accuracy,f1": ("label", ["accuracy", "f_beta"]),
}
CHECKED = [
    "evaluate classes.keras classes.csv", "evaluate exported classes-*.tfrecord", "evaluate amount.keras ranking.jsonl",
    "evaluate photos.keras photos",
]  # fmt: skip
FILES = {"records": "../records", "shards": "../shards/*.tfrecord"}  # a file without an ending, a folder of files
REFUSED = {
    "evaluate classes.keras photos": "'input_layer' takes float32 [6], and no feature fits; the data has",
    "evaluate classes.keras notes.txt": "notes.txt: its format cannot be told from its name or its first bytes",
    "evaluate photos.keras torn": "is no readable JPEG or PNG image; take it out of the data, or say on_bad_record: skip",
    "evaluate classes.keras pipe.csv": "pipe.csv is a pipe or a device, expected a file: data are read in pieces",
    "evaluate nowhere.keras classes.csv": "nowhere.keras: no such model",
    "evaluate classes.keras nowhere.csv": "no such file: nowhere.csv",
    "evaluate classes.keras spoilt.csv": "column 'x1' is text, though 63 of 64 cells that were looked at are numbers, and not '?'",
    "evaluate classes.keras classes.csv --label lable": "the data has no feature 'lable': did you mean 'label'?",
    "evaluate classes.keras classes.csv --metrics acuracy": "unknown metric 'acuracy': did you mean 'accuracy'?",
    "evaluate classes.keras classes.csv --label x1": "no metric is known for a label [] of float64 and the output dense [4]",
}
# Bound without a word: two models whose inputs Keras named differently, and a folder of photos without format and inputs.
SHORT: dict[str, dict[str, Any]] = {
    "two models": {
        "models": {"a": "classes.keras", "b": "logits.keras"},
        "data": {"files": "classes.parquet", "label": "label"},
        "metrics": "accuracy",
    },
    "a folder": {"model": "photos.keras", "data": {"files": "photos", "label": "label"}, "metrics": "accuracy"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models and data of the example are, once the commands have been drafted."""
    return tmp_path_factory.mktemp("first_hour")


@pytest.fixture(scope="module")
def drafted(folder: Path) -> dict[str, tuple[str, int, str]]:
    """Return job, exit code and output of every command."""
    (folder / "notes.txt").write_text("some words")
    further = [f"evaluate classes.keras {name}" for name in FILES] + list(REFUSED)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(EXAMPLE), *map(json.dumps, (CHECKED, further, SHORT))],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {command: tuple(result) for command, result in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize("command", JOBS)
def test_a_job_is_found(drafted: dict[str, tuple[str, int, str]], command: str) -> None:
    text, code, output = drafted[command]
    assert code == 0, output
    job = Job.from_dict(parse(text, "job.yaml"), folder="jobs")
    assert (job.data.label, [metric.name for metric in job.metrics]) == JOBS[command]
    assert job.model is not None and job.model.path == f"../{command.split()[1]}"
    if command in CHECKED:
        assert "the job is good" in output, output


def test_every_command_of_the_example_is_looked_at(drafted: dict[str, tuple[str, int, str]]) -> None:
    assert set(drafted) == {*JOBS, *REFUSED, *SHORT, *(f"evaluate classes.keras {name}" for name in FILES)}


def test_options_are_those_that_label_and_output_ask_for(drafted: dict[str, tuple[str, int, str]]) -> None:
    def options(command: str) -> list[dict[str, Any]]:
        return [metric.options for metric in Job.from_dict(parse(drafted[command][0], "job.yaml")).metrics]

    assert options("evaluate logits.keras classes.parquet") == [{}, {}, {"from_logits": True}]
    assert options("evaluate classes.keras one_hot.npz") == [{"one_hot": True}] * 3
    assert options("evaluate amount.keras ranking.jsonl") == [{"query": "query_id", "k": 10}, {"query": "query_id"}]
    assert "classes: [blossom, meadow, sea]" in drafted["evaluate photos.keras photos"][0]


@pytest.mark.parametrize("name", FILES)
def test_files_are_found_and_known_by_what_they_hold(drafted: dict[str, tuple[str, int, str]], name: str) -> None:
    job = Job.from_dict(parse(drafted[f"evaluate classes.keras {name}"][0], "job.yaml"))
    assert (job.data.files, job.data.format, job.data.label) == ((FILES[name],), "tfrecord", "label")


@pytest.mark.parametrize("command", REFUSED)
def test_what_does_not_go_together_is_said(drafted: dict[str, tuple[str, int, str]], command: str) -> None:
    text, code, output = drafted[command]
    assert (text, code) == ("", 2)
    assert REFUSED[command] in output


@pytest.mark.parametrize("name", SHORT)
def test_what_alone_fits_is_bound_without_a_word(drafted: dict[str, tuple[str, int, str]], name: str) -> None:
    _, code, output = drafted[name]
    assert code == 0 and "the job is good" in output, output


def test_a_command_and_the_job_that_keeps_it_write_the_same_bytes(world, harness, tmp_path) -> None:
    model, data = world.folder / "classifier.keras", world.folder / "all.npz"
    wishes = ["--label", "label", "--metrics", "accuracy,{top_k: {k: 2}}"]
    first = harness("evaluate", model, data, *wishes, cwd=tmp_path)
    assert first.code == 0, first.text
    (run,) = (tmp_path / "runs").iterdir()
    kept = first.out.splitlines()[-1].partition("keep this job: harness ")[2]
    assert kept == f"init {model} {data} --label label --metrics 'accuracy,{{top_k: {{k: 2}}}}' -o job.yaml"
    done = harness("init", model, data, *wishes, cwd=tmp_path)
    assert done.code == 0 and "harness check job.yaml" in done.out, done.text
    again = harness("init", model, data, cwd=tmp_path)
    assert again.code == 2 and "job.yaml is there already: choose another with -o, or write over it with --force" in again.err
    assert harness("evaluate", tmp_path / "job.yaml", cwd=tmp_path).code == 0
    assert (run / "metrics.json").read_bytes() == (tmp_path / "runs/job/metrics.json").read_bytes()
    values = json.loads((run / "metrics.json").read_text())["metrics"]
    assert set(values) == {"accuracy", "top_k"}


@pytest.mark.ranks
def test_ranks_look_each_for_itself_and_write_the_same_bytes(world, harness, tmp_path) -> None:
    words = ["evaluate", world.folder / "classifier.keras", world.folder / "all.npz"]
    several = start(["mpirun", "-np", "2", "--oversubscribe", "harness", *words], tmp_path, {"HARNESS_THREADS": "1"})
    assert several.code == 0 and several.out.count("keep this job: ") == 1, several.text
    assert harness(*words, "-o", tmp_path / "alone", cwd=tmp_path).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "metrics.json").read_bytes() == (tmp_path / "alone/metrics.json").read_bytes()


@pytest.mark.parametrize(
    "words, message",
    [
        (["evaluate", "job.yaml", "--label", "y"], "--label, --metrics and --model-output go with MODEL DATA"),
        (["evaluate", "m.keras", "x.csv", "--predictions", "p"], "--predictions goes with a job file"),
        (["launch", "--", "evaluate", "m.keras", "my x.csv"], "harness: error: m.keras: no such model\n"),
    ],
)
def test_options_of_the_other_form_are_refused(harness, words, message) -> None:
    done = harness(*words)
    assert done.code == 2 and message in done.err, done.text


def cases() -> dict[str, str]:
    """The commands of the example."""
    tree = ast.parse((EXAMPLE / "first_hour.py").read_text())
    assigned = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return ast.literal_eval(assigned["CASES"])


def test_every_case_gives_its_number_with_one_command(drafted, folder, cli_server) -> None:
    for case in cases().values():
        done = command(cli_server, folder, *shlex.split(case))
        assert done.code == 0, done.text
    check_numbers(folder)


def test_every_command_of_the_example_gives_its_number(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLE / "first_hour.py", tmp_path], capture_output=True, text=True, env=None, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    check_numbers(tmp_path)
    if "from PyPI" in done.stdout:  # else it says that PyPI is not reached
        (metrics,) = [json.loads(path.read_text())["metrics"] for path in tmp_path.glob("runs/model-sources-*/metrics.json")]
        assert metrics["accuracy"] == {
            "examples": 3,
            "standard_error": None,
            "standard_error_reason": metrics["accuracy"]["standard_error_reason"],
            "value": 1.0,
        }
    else:
        assert "PyPI does not give" in done.stdout


def check_numbers(folder: Path) -> None:
    """Compare the numbers of the runs in a folder with those that the examples' formulas give."""
    runs = {
        path.parent.name.rpartition("-")[0]: json.loads(path.read_text())["metrics"]
        for path in folder.glob("runs/*/metrics.json")
    }
    assert all(value["value"] is not None for metrics in runs.values() for value in metrics.values())
    with np.load(folder / "one_hot.npz") as arrays:  # twice the first features are the scores
        expected = np.mean(np.argmax(arrays["x"][:, :4], axis=1) == np.argmax(arrays["label"], axis=1))
    for run in ("classes-classes", "classes-species", "logits-classes", "exported-classes", "classes-one_hot"):
        assert runs[run]["accuracy"]["value"] == pytest.approx(expected, rel=1e-15)
    with np.load(folder / "amounts.npz") as arrays:
        error = np.mean(np.abs(2 * arrays["features"][:, 0].astype(np.float64) - arrays["target"]))
    assert runs["amount-amounts"]["mean_absolute_error"]["value"] == pytest.approx(error, rel=1e-6)

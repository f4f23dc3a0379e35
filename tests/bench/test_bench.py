"""Benches that are run: the command, at real sizes. The pure parts are tested on frozen facts beside this file."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import made, schemas
from tests.conftest import LIMIT_S, Done, Made, start

EXAMPLES = 12_000
JOB = """\
model: {model}
data: {{files: "{data}/*.tfrecord", label: label}}
metrics: [accuracy, log_loss]
batch_size: 64
"""
# A model whose weights depend on the number of ranks: what a bench is there to find out.
LIAR = """\
import os
import tensorflow as tf

def make():
    size = float(os.environ.get("OMPI_COMM_WORLD_SIZE", "1"))

    @tf.function(input_signature=[tf.TensorSpec([None, 8], tf.float32, name="x")])
    def predict(x):
        return {"probabilities": tf.nn.softmax(x[:, :5] * size)}

    return predict
"""


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory, world: Made) -> Path:
    """A folder with a job of some thousand examples in four files."""
    folder = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(4)
    x = rng.normal(size=(EXAMPLES, made.WIDTH)).astype(np.float32)
    label = np.argmax(x @ made.kernel() + rng.normal(size=(EXAMPLES, made.CLASSES)), axis=1).astype(np.int64)
    records = made.records({"x": x, "label": label})
    (folder / "data").mkdir()
    for part in range(4):
        made.write_tfrecord(folder / "data" / f"{part}.tfrecord", records[part::4])
    (folder / "job.yaml").write_text(JOB.format(model=world.folder / "classifier", data=folder / "data"))
    return folder


def bench(box: Path, name: str, *words: str, limit_s: float = 4 * LIMIT_S, environ: dict[str, str] | None = None) -> Done:
    """Run `harness bench`."""
    argv = [sys.executable, "-m", "harness", "bench", str(box / "job.yaml"), "-o", str(box / name), *words]
    begun = time.monotonic()
    done = subprocess.run(argv, cwd=box, env={**os.environ, **(environ or {})}, capture_output=True, text=True, timeout=limit_s)
    return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - begun)


def document(box: Path, name: str) -> dict[str, Any]:
    text = (box / name / "bench.json").read_text()
    schemas.check("bench.json", text)
    return json.loads(text)


@pytest.mark.ranks
def test_a_bench_of_one_and_two_ranks_is_valid(box: Path) -> None:
    done = bench(box, "small", "--ranks", "1,2", "--repeat", "1")
    assert done.code == 0, done.text
    found = document(box, "small")
    assert found["state"] == "VALID" and [size["ranks"] for size in found["sizes"]] == [1, 2]
    assert len({trial["digest"] for trial in found["trials"]}) == 1 and len(found["trials"]) == 4
    for trial in found["trials"]:
        schemas.check("limits.json", (box / "small" / "trials" / trial["name"] / "run" / "limits.json").read_bytes())
        assert len(trial["limits"]["ranks"]) == trial["ranks"]
    for size in found["sizes"]:
        # How fast is nobody's to say on a machine that does other things too.
        assert all(size[name]["value"] > 0 for name in ("rate", "forward_rate", "reading_rate", "sum_s"))
    page = (box / "small" / "report.html").read_text()
    assert "VALID" in page and "http://" not in page.replace("http://www.w3.org", "")
    # The same command a second time does nothing, and says what would.
    again = bench(box, "small", "--ranks", "1,2", "--repeat", "1")
    assert again.code == 2 and "--resume goes on with it" in again.err


@pytest.mark.ranks
@pytest.mark.parametrize(
    ("fault", "bound"),
    [("slow-read:0.4", "reading"), ("slow-read:0.4:1:0.1", "slow rank"), ("slow-sum:0.7", "final sum"), ("", None)],
    ids=["reading", "rank", "sum", "none"],
)
@pytest.mark.parametrize("schedule", ["static", "dynamic"])
def test_a_planted_bottleneck_is_named(box: Path, fault: str, bound: str | None, schedule: str) -> None:
    name = f"planted-{schedule}-{fault.replace(':', '-')}"
    environ = {"HARNESS_TEST_FAULT": fault} if fault else {}
    words = ["--ranks", "2", "--repeat", "2", "--set", f"schedule={schedule}", "--set", "chunk_size=256"]
    done = bench(box, name, *words, environ=environ)
    assert done.code == 0, done.text
    (size,) = document(box, name)["sizes"]
    if bound is None:
        # Where other work makes a rank slow, that is named rightly: what was not planted is not named time and again.
        for number in range(2):
            if size["binds"]["bound"] in ("slow rank", "final sum"):
                assert bench(box, f"{name}-{number}", *words).code == 0
                (size,) = document(box, f"{name}-{number}")["sizes"]
        assert size["binds"]["bound"] not in ("slow rank", "final sum"), size
        return
    assert size["binds"]["bound"] == bound, size
    assert size["binds"]["rank"] == (1 if bound == "slow rank" else None)


@pytest.mark.ranks
@pytest.mark.parametrize("comm", ["mpi", "gloo"])
def test_strong_and_weak_scaling_over_each_transport(box: Path, comm: str) -> None:
    done = bench(box, f"weak-{comm}", "--ranks", "1,2,4", "--repeat", "1", "--weak", f"--{comm}")
    assert done.code == 0, done.text
    found = document(box, f"weak-{comm}")
    assert [(size["scaling"], size["ranks"]) for size in found["sizes"]] == [
        ("strong", 1), ("strong", 2), ("strong", 4), ("weak", 1), ("weak", 2),
    ]  # fmt: skip
    examples = {(trial["scaling"], trial["ranks"]): trial["run"]["plan"]["examples"] for trial in found["trials"]}
    assert examples["weak", 1] == EXAMPLES // 4 and examples["weak", 2] == EXAMPLES // 2
    assert all(trial["run"]["attempt"]["comm"] == ("single" if trial["ranks"] == 1 else comm) for trial in found["trials"])


@pytest.mark.ranks
def test_a_result_that_depends_on_the_ranks_makes_it_invalid(box: Path) -> None:
    (box / "liar.py").write_text(LIAR)
    words = ["--set", "model={python: 'liar:make'}", "--ranks", "1,2", "--repeat", "1"]
    done = bench(box, "liar", *words)
    assert done.code == 1 and "INVALID" in done.out, done.text
    assert document(box, "liar")["state"] == "INVALID"
    good = bench(box, "honest", "--ranks", "1,2", "--repeat", "1")
    assert good.code == 0, good.text
    accepted = [sys.executable, "-m", "harness", "bench", "accept", box / "honest", "--against"]
    refused = start([*accepted, box / "liar", "-o", box / "liar.xml"], box)
    assert refused.code == 2 and "not of the same work" in refused.err  # another model: another override
    judged = start([*accepted, box / "honest", "-o", box / "honest.xml"], box)
    assert judged.code == 5 and "INCONCLUSIVE" in judged.out  # one repeat has no interval
    assert "<testsuites" in (box / "honest.xml").read_text()
    compared = start([sys.executable, "-m", "harness", "bench", "compare", box / "honest", box / "honest"], box)
    assert compared.code == 0 and "solution_s" in compared.out


@pytest.mark.ranks
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_bench_that_was_ended_keeps_what_was_done(box: Path, how: signal.Signals) -> None:
    name = f"ended-{how.name}"
    words = ["--ranks", "1,2", "--repeat", "1"]
    argv = [sys.executable, "-m", "harness", "bench", str(box / "job.yaml"), "-o", str(box / name), *words]
    process = subprocess.Popen(argv, cwd=box, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first, begun = box / name / "trials" / "s000-strong-0001-warm-0" / "trial.json", time.monotonic()
    while not first.exists():
        assert process.poll() is None and time.monotonic() - begun < LIMIT_S
        time.sleep(0.1)
    time.sleep(1.0)  # into the next trial
    process.send_signal(how)
    code = process.wait(60)
    assert code == (4 if how is signal.SIGTERM else -signal.SIGKILL)
    before = first.stat().st_mtime_ns
    done = bench(box, name, *words, "--resume")
    assert done.code == 0, done.text
    assert first.stat().st_mtime_ns == before and document(box, name)["state"] == "VALID"
    other = bench(box, name, "--ranks", "1,2", "--repeat", "2", "--resume")
    assert other.code == 2 and "repeat: 1 and 2" in other.err


@pytest.mark.ranks
def test_a_size_that_fails_is_named_and_the_others_are_kept(box: Path) -> None:
    hosts = ["-H", "localhost:2", "--ranks", "1,2,3", "--repeat", "1"]
    done = bench(box, "failed", *hosts)
    assert done.code == 1, done.text
    found = document(box, "failed")
    assert found["state"] == "INCOMPLETE" and "s000-strong-0003-warm-0 failed" in found["problems"][0]
    assert [size["trials"] for size in found["sizes"]] == [1, 1, 0]


@pytest.mark.ranks
def test_a_sweep_writes_the_best_setting_as_a_job(box: Path, world: Made) -> None:
    model = f"model={world.folder / 'classifier.keras'}"  # a SavedModel has the precision that it was exported with
    words = ["--ranks", "1", "--repeat", "1", "--set", model, "--sweep", "batch_size=16,256"]
    done = bench(box, "sweep", *words, "--sweep", "precision=float32,bfloat16")
    assert done.code == 0, done.text
    found = document(box, "sweep")
    swept = found["sweep"]
    assert len(swept) == 4 and sum(setting["is_best"] for setting in swept) == 1
    # Another batch gives the same bits, another precision does not: that is marked, with the difference of each metric.
    assert [setting["same_bits"] for setting in swept] == [True, False, True, False]
    assert 0 < abs(swept[1]["differences"]["log_loss"]) < 0.1 and not swept[2]["differences"]
    assert "other bits: " in done.out
    # The job that is written runs, and its result is that of its trials, to the last byte.
    (best,) = (setting for setting in swept if setting["is_best"])
    run = start([sys.executable, "-m", "harness", "evaluate", box / "sweep" / "best.yaml", "-o", box / "best", "-q"], box)
    assert run.code == 0, run.text
    digest = hashlib.sha256((box / "best" / "metrics.json").read_bytes()).hexdigest()
    assert {trial["digest"] for trial in found["trials"] if trial["setting"] == best["setting"]} == {digest}


@pytest.mark.ranks
def test_minutes_bound_a_bench(box: Path) -> None:
    done = bench(box, "minutes", "--ranks", "1,2", "--repeat", "50", "--minutes", "3")
    assert done.code == 0 and "chosen for 3 minutes" in done.err, done.text
    found = document(box, "minutes")
    assert found["examples"] is not None and found["state"] == "VALID" and 1 <= found["rules"]["repeat"] < 50
    # A round that takes longer than those before it may go beyond; then why is said.
    assert ("of 3 minutes" in done.err and done.seconds <= 210) or "3 allowed: a pilot of" in done.err, done.text
    again = bench(box, "minutes", "--ranks", "1,2", "--repeat", "50", "--minutes", "3", "--resume")
    assert again.code == 0 and document(box, "minutes")["trials"] == found["trials"]  # there is nothing left to do
    short = bench(box, "short", "--ranks", "1", "--minutes", "0.01")
    assert short.code == 2 and "--minutes 0.01" in short.err
    again = bench(box, "short", "--ranks", "1", "--minutes", "0.01")  # the pilot is no bench: nothing is in the way
    assert again.code == 2 and "--minutes 0.01" in again.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ranks", "0,1"], "--ranks 0,1: expected sizes from 1 on"),
        (["--ranks", "a"], "--ranks a: expected sizes from 1 on"),
        (["--sweep", "batch_size"], "--sweep batch_size: expected KEY=VALUE"),
        (["--sweep", "batchsize=1,2"], "batch_size"),
        (["--resume"], "there is no bench to go on with"),
        (["--gpus-per-rank", "2"], "a rank computes on one GPU"),
        (["-H", "a:1", "--slurm", "p"], "say one of them"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_run(box: Path, tmp_path: Path, words: list[str], message: str) -> None:
    argv = [sys.executable, "-m", "harness", "bench", box / "job.yaml", "-o", tmp_path / "b", *words]
    done = start(argv, tmp_path)
    assert done.code == 2 and message in done.err and "Traceback" not in done.text, done.text
    assert not (tmp_path / "b").exists()
